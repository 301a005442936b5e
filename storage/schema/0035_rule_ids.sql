-- A rule of the selector is stored by its own id, so that a new rule may stand anywhere among them. The
-- ids of the rules that were there before are the places they had: what is stored stays right.
COMMENT ON COLUMN messages.rule IS 'Rule.id of gateway.routing.selector';
