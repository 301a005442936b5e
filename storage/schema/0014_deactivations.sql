-- Numbers that carriers reported as deactivated, by day (Deactivations). A day that is listed was
-- imported, even when it has no numbers.
CREATE TABLE deactivation_days (
    day date PRIMARY KEY
);
CREATE TABLE deactivations (
    day    date NOT NULL,
    number text NOT NULL,
    PRIMARY KEY (day, number)
);
