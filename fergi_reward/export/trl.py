"""TRL 1.x: GRPOTrainer for models that rewrite prompts, with a list of reward functions and one of their weights."""

from fergi_reward.export.host import Host, HostWeights, number, text


def lines(found: HostWeights) -> list[str]:
    """The reward functions and the arguments of the trainer."""
    functions = ", ".join(f"drawn({text(each.name)})" if each.is_scorer else each.function for each in found.weights)
    numbers = ", ".join(number(each.weight) for each in found.weights)
    return [
        "from fergi_reward import load_scorer",
        "from fergi_reward.prompt_reward import PromptReward",
        "from trl import GRPOConfig",
        "",
        "",
        "def drawn(name):",
        '    reward = PromptReward(pipeline, load_scorer(name, device="cuda"))',
        "    reward.__name__ = name  # TRL logs by it",
        "    return reward",
        "",
        "",
        f"reward_funcs = [{functions}]",
        "args = GRPOConfig(",
        f"    reward_weights=[{numbers}],",
        f"    multi_objective_aggregation={text('normalize_then_sum' if found.by_group else 'sum_then_normalize')},",
        ")",
        "# GRPOTrainer(model, reward_funcs=reward_funcs, args=args, train_dataset=dataset)",
        "# Each function draws the pictures again: PromptReward(pipeline, CombinedReward(...)) draws them once,",
        "# and needs no weights. TRL <= 0.23 takes one function: docs/ADAPTERS.md.",
    ]


HOST = Host(
    "trl",
    {},
    "TRL 1.16.0, trl/trainer/grpo_trainer.py",
    "It adds weight * reward in float32, and standardises the sum among the answers to a prompt.",
    lines,
)
