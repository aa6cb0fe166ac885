"""The protocols by name: functions of a preference table and a seed that give an `Outcome` (`outcome.py`)."""

from fergi_reward.core.registry import Registry

PROTOCOLS = Registry(
    "protocol",
    {
        "bradley-terry": "fergi_reward.calibration.bradley_terry:run",
        "paper-v1": "fergi_reward.calibration.grid:run",
        "paper-v3": "fergi_reward.calibration.paper_v3:run",
    },
)
