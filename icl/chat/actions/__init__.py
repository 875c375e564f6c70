"""What a visitor can do beside asking."""
