"""From a sender's queue to the carrier and back: claims, answers, rows."""
