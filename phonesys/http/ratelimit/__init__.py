"""Client-side rate limits: exact sliding windows, adaptive shares and daily quotas."""
