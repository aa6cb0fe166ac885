"""The former place of eval/toy/emoji_finetune.py."""

from moved import run_moved

run_moved(__file__, "toy")
