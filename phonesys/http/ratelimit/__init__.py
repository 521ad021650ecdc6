"""Client-side rate limits: exact sliding windows, an adaptive share of them, and daily quotas."""
