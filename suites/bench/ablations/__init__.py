"""What each means of ``tuned`` is worth: copies of an implementation without it, timed beside the whole."""
