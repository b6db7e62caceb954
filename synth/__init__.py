"""The price of each unit: synthesis and its reports."""
