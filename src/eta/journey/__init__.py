"""What is known about a shipment at a moment."""
