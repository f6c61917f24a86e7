"""A parcel network whose truth is known."""
