"""A vision-language model as a scorer, asked through an OpenAI-compatible endpoint (vLLM, SGLang, a provider).

The score is the expected value over the answers, by the probabilities of their tokens where the endpoint gives them, as
in VQAScore (Lin et al., arXiv 2404.01291); else the number that the answer says. An answer that says none, or several,
is an error of that picture.
"""

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock
from typing import TYPE_CHECKING, Any, ClassVar

from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.core.options import OptionsError, is_required, option
from fergi_reward.files.digests import bytes_digest, record_digest
from fergi_reward.files.yaml_files import read_yaml
from fergi_reward.scorers.chat_endpoint import ChatEndpoint, EndpointOptions, Usage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

QUESTION = 'Does this picture show "{prompt}"? Answer with one word, yes or no.'
YES_OR_NO: Mapping[str, float] = {"yes": 1.0, "no": 0.0}
# What may stand around a word that is the whole answer, the marks of tokenizers among it.
_AROUND = " \t\r\n\"'`*_.,:!()[]▁Ġ"
_NUMBER = r"-?\d+(?:\.\d+)?"
# At least so much of the probability must be on the answers.
_LEAST_MASS = 0.5
# Answers that are kept: a batch that failed for one picture is asked picture by picture.
_KEPT = 4096
_SHOWN = 200
# Options that move no score.
_NOT_CONTENT = {field.name for field in fields(EndpointOptions)} - {"url", "model", "request"}


@dataclass(frozen=True, kw_only=True)
class JudgeOptions(EndpointOptions):
    """The file of a judge: which model, what it is asked, and what its answers are worth."""

    question: str = option(QUESTION, "What it is asked; {prompt} stands for the picture's prompt.")
    answers: Mapping[str, float] | None = option(None, "What each answer is worth. [default: yes 1, no 0]")
    range: Sequence[float] | None = option(None, "The lowest and the highest number that it may answer, instead.")
    pattern: str = option(_NUMBER, "Where in the answer that number is: a regular expression, its group if it has one.")
    answer_tokens: int | None = option(
        None, "The longest answer. [default: 8 where answers are words, 512 for a number]", at_least=1
    )

    @property
    def worth(self) -> Mapping[str, float]:
        """What each answer is worth; none where a number is asked for."""
        return {} if self.range is not None else YES_OR_NO if self.answers is None else self.answers

    def problems(self) -> list[str]:
        """What no score could be made of."""
        found = super().problems()
        if "{prompt}" not in self.question:
            found.append("question does not contain {prompt}")
        if self.range is not None and (len(self.range) != 2 or not self.range[0] < self.range[1]):
            found.append(f"range is {list(self.range)}, must be two numbers, the lower one first")
        if self.range is not None and self.answers is not None:
            found.append("answers and range are both given: choose one")
        if self.range is None and self.pattern != _NUMBER:
            found.append("pattern finds a number, of which range must say the limits")
        try:
            if re.compile(self.pattern).groups > 1:
                found.append("pattern has several groups, must have one or none")
        except re.error as error:
            found.append(f"pattern is no regular expression ({error})")
        return found + _answer_problems(YES_OR_NO if self.answers is None else self.answers)

    @property
    def fields(self) -> dict[str, Any]:
        """What a request asks for."""
        if self.worth:
            return {"temperature": 0, "max_tokens": self.answer_tokens or 8, "logprobs": True, "top_logprobs": 20}
        return {"temperature": 0, "max_tokens": self.answer_tokens or 512}

    def digest(self) -> str:
        """SHA-256 of all that a score depends on; neither the key nor how often and how patiently it is asked."""
        return record_digest({name: value for name, value in _plain(self).items() if name not in _NOT_CONTENT})


class VLMJudge:
    """Asks the question about each picture.

    Args:
        checkpoint: The options, or a YAML file of them.

    Raises:
        FergiRewardError: There are none, or they cannot be used, or the key is not in the environment.
    """

    name = "vlm_judge"
    is_differentiable = False
    license: ClassVar[str] = "that of the model"
    checkpoint: ClassVar[str] = "a model behind an endpoint: --checkpoints vlm_judge=FILE.yaml"
    revision: ClassVar[str] = "what the endpoint serves"
    files: ClassVar[str] = "a YAML file of yours"
    size: ClassVar[str] = "0 B"
    # It computes elsewhere.
    parameter_count: ClassVar[int] = 0

    def __init__(self, checkpoint: JudgeOptions | Path | str | None = None) -> None:
        if checkpoint is None:
            raise FergiRewardError(
                "vlm_judge asks an endpoint: name the YAML file with its url and model, as in "
                "--checkpoints vlm_judge=judge.yaml"
            )
        self.options = checkpoint if isinstance(checkpoint, JudgeOptions) else read_options(Path(checkpoint))
        self._endpoint = ChatEndpoint(self.options)
        self._places = BoundedSemaphore(self.options.concurrency)
        self._kept: dict[str, float] = {}
        self._keeping = Lock()

    @property
    def usage(self) -> Usage:
        """What was asked so far: requests and tokens."""
        return self._endpoint.usage

    def __call__(self, pixels: "Tensor", prompts: Sequence[str]) -> list[float]:
        """One score per picture, asked at the same time; the same picture and prompt are asked once in this process.

        Args:
            pixels: (B, 3, H, W) in [0, 1], RGB.
            prompts: One per picture.

        Raises:
            UnavailableError: The endpoint cannot be asked: see `ChatEndpoint.ask`.
            FergiRewardError: It has no answer for a picture, or none that is a score.
        """
        pictures = [_png(picture) for picture in (pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()]
        keys = [bytes_digest(png + prompt.encode()) for png, prompt in zip(pictures, prompts, strict=True)]
        known = {key: score for key in keys if (score := self._kept.get(key)) is not None}
        new = {key: (pictures[row], prompts[row]) for row, key in enumerate(keys) if key not in known}
        try:
            known |= self._answers(new) if new else {}
        finally:
            self._endpoint.note_usage()
        return [known[key] for key in keys]

    def _answers(self, questions: Mapping[str, tuple[bytes, str]]) -> dict[str, float]:
        """Ask all; those that have an answer are kept, whatever happens to the others."""
        stop = Event()
        with ThreadPoolExecutor(min(len(questions), self.options.concurrency)) as pool:
            asked = {key: pool.submit(self._ask, *question, stop) for key, question in questions.items()}
            try:
                for one in as_completed(asked.values()):
                    if isinstance(one.exception(), UnavailableError):
                        one.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                self._keep({key: one.result() for key, one in asked.items() if _has_score(one)})
        return {key: one.result() for key, one in asked.items()}

    def _keep(self, scores: Mapping[str, float]) -> None:
        with self._keeping:
            self._kept |= scores
            for key in list(self._kept)[:-_KEPT]:
                del self._kept[key]

    def _ask(self, png: bytes, prompt: str, stop: Event) -> float:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png).decode()}"}},
            {"type": "text", "text": self.options.question.replace("{prompt}", prompt)},
        ]
        with self._places:
            if stop.is_set():
                raise CancelledError
            try:
                choice = self._endpoint.ask(content, self.options.fields, stop)
            except UnavailableError:
                stop.set()
                raise
        try:
            return score_of(choice, self.options)
        except FergiRewardError as error:
            raise FergiRewardError(f"{self.options.model} gave no score for the prompt {prompt!r}: {error}") from error

    def weights_digest(self) -> str:
        """SHA-256 of what a score depends on: `JudgeOptions.digest`."""
        return self.options.digest()

    def describe(self) -> dict[str, Any]:
        """The model, what it is asked, and what its answers are worth."""
        names = ("model", "question", "answers", "range", "pattern")
        return {name: value for name, value in _plain(self.options).items() if name in names and value}


def score_of(choice: Mapping[str, Any], options: JudgeOptions) -> float:
    """The score that an answer says.

    Args:
        choice: As OpenAI's protocol has it: `message`, `finish_reason` and perhaps `logprobs`.
        options: What answers are worth.

    Raises:
        FergiRewardError: It says none, or which one is not clear.
    """
    said = choice.get("message")
    message = said if isinstance(said, dict) else {}
    text, refusal = message.get("content"), message.get("refusal")
    if refusal or choice.get("finish_reason") == "content_filter":
        raise FergiRewardError(f"it refused: {_shown(refusal or text)}")
    if options.worth and (token := _first_token(choice)) is not None:
        return _expected(token, options.worth)
    if not isinstance(text, str) or not text.strip():
        raise FergiRewardError(f"its answer is {_shown(text)}, must be a text")
    return _word(text, options.worth) if options.worth else _number(text, choice, options)


def _first_token(choice: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first token that is more than white space, with its alternatives; None where the endpoint gave none."""
    listed = choice.get("logprobs")
    tokens = listed.get("content") if isinstance(listed, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    words = (one for one in tokens if isinstance(one, dict) and _bare(str(one.get("token", ""))))
    return next(words, None)


def _expected(token: Mapping[str, Any], worth: Mapping[str, float]) -> float:
    """The mean of what the answers are worth, by the probabilities of the tokens that are one."""
    others = token.get("top_logprobs")
    listed = [*(others if isinstance(others, list) else []), token]
    if not all(isinstance(one, dict) and _is_logprob(one.get("logprob")) for one in listed):
        raise FergiRewardError(f"its log-probabilities are no numbers of at most 0: {_shown(listed)}")
    logs = {str(one.get("token")): one["logprob"] for one in listed}
    if (total := sum(map(math.exp, logs.values()))) > 1.01:
        raise FergiRewardError(f"its probabilities add up to {total:.3g}: {_shown(logs)}")
    masses = dict.fromkeys(map(_bare, worth), 0.0)
    for text, log in logs.items():
        if _bare(text) in masses:
            masses[_bare(text)] += math.exp(log)
    mass = sum(masses.values())
    if mass < _LEAST_MASS:
        raise FergiRewardError(f"{mass:.1%} of its probability is on {', '.join(worth)}, most on {token['token']!r}")
    return sum(value * masses[_bare(word)] for word, value in worth.items()) / mass


def _word(text: str, worth: Mapping[str, float]) -> float:
    found = [value for word, value in worth.items() if _bare(word) == _bare(text)]
    if not found:
        raise FergiRewardError(f"its answer is {_shown(text)}, must be {' or '.join(worth)} alone")
    return found[0]


def _number(text: str, choice: Mapping[str, Any], options: JudgeOptions) -> float:
    assert options.range is not None
    if choice.get("finish_reason") == "length":
        raise FergiRewardError(f"its answer was cut off, raise answer_tokens: {_shown(text)}")
    matches = list(re.finditer(options.pattern, text))
    try:
        numbers = {float(match.group(re.compile(options.pattern).groups)) for match in matches}
    except (TypeError, ValueError) as error:
        raise FergiRewardError(f"what pattern finds in its answer is no number: {_shown(text)}") from error
    if len(numbers) != 1:
        which = f"{len(numbers)} numbers, of which pattern must find one" if numbers else "no number"
        raise FergiRewardError(f"its answer has {which}: {_shown(text)}")
    number, (lowest, highest) = numbers.pop(), options.range
    if not lowest <= number <= highest:
        raise FergiRewardError(f"its answer is {number:g}, outside of {lowest:g} to {highest:g}: {_shown(text)}")
    return number


def read_options(path: Path) -> JudgeOptions:
    """The options in a YAML file.

    Raises:
        FergiRewardError: It cannot be read, lacks an option, or has one that there is not, or of another kind.
    """
    try:
        values = read_yaml(path)
    except (OSError, ValueError) as error:
        raise FergiRewardError(f"cannot read the judge {path}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(values, dict):
        raise FergiRewardError(f"{path} must have lines such as `url: http://127.0.0.1:8000/v1` and `model: NAME`")
    known = {field.name: field for field in fields(JudgeOptions)}
    problems = [f"there is no option {name}, there are {', '.join(known)}" for name in values if name not in known]
    given = {name: value for name, value in values.items() if value is not None}
    problems += [f"{name} is missing" for name, field in known.items() if is_required(field) and name not in given]
    if isinstance(answers := given.get("answers"), dict):
        if any(isinstance(word, bool) for word in answers):
            problems.append('answers has yes or no without quotes, which YAML reads as true and false: write "yes"')
        given["answers"] = {str(word): value for word, value in answers.items()}
    if problems:
        raise FergiRewardError(f"{path}: {'; '.join(problems)}")
    try:
        return JudgeOptions(**given)
    except OptionsError as error:
        raise FergiRewardError(f"{path}: {'; '.join(error.problems)}") from error


def _answer_problems(answers: Mapping[str, float]) -> list[str]:
    """What makes answers that cannot be told apart, or are worth the same."""
    words = sorted(map(_bare, answers))
    found = [f"answers has {word!r}, of which nothing is left without marks" for word in answers if not _bare(word)]
    for one, other in pairwise(filter(None, words)):
        if other.startswith(one):
            found.append(f"answers has {one!r} and {other!r}, which may begin with one token: choose other words")
    if len(set(answers.values())) < 2:
        found.append("answers must have two of different worth at least")
    return found


def _plain(options: JudgeOptions) -> dict[str, Any]:
    """The options as JSON holds them, with what answers are worth by default; 1 and 1.0 are the same."""
    answers = {word: float(value) for word, value in options.worth.items()}
    return {**asdict(options), "answers": answers, "range": [float(value) for value in options.range or ()]}


def _has_score(asked: "Future[float]") -> bool:
    return asked.done() and not asked.cancelled() and asked.exception() is None


def _bare(text: str) -> str:
    return text.strip(_AROUND).casefold()


def _is_logprob(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= 1e-3


def _png(picture: "np.ndarray") -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(picture).save(held, "PNG")
    return held.getvalue()


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN]
