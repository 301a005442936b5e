-- Which of the selector's rules chose the sender (its place in gateway.routing.selector.RULES).
ALTER TABLE messages ADD COLUMN rule smallint;
