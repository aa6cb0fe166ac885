"""What the server refuses: a status of HTTP, a code that the page translates, and a sentence."""

from collections.abc import Mapping

from fergi_reward.core.errors import FergiRewardError


class RefusedError(FergiRewardError):
    """A request that is answered with an error.

    Args:
        status: Status of HTTP.
        code: What the page's strings call it: `error.CODE`.
        message: The sentence, for whoever reads the answer without the page.
        more: Further fields of the answer.
    """

    def __init__(self, status: int, code: str, message: str, **more: object) -> None:
        super().__init__(message)
        self.status, self.code, self.more = status, code, more

    @property
    def answer(self) -> Mapping[str, object]:
        """The body of the answer."""
        return {"error": self.code, "message": str(self), **self.more}
