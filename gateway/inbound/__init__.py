"""What comes in: joined from its parts, stored before the carrier is answered, then handled."""
