"""Fine-tuning of diffusion models with a reward: one file per trainer, and what they share.

To a trainer a reward is only a callable (`rewards.Reward`); it knows nothing of scorers or calibrations.
"""
