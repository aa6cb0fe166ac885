"""Text-to-image pipelines of diffusers: families, schedules, trajectories, rendering."""
