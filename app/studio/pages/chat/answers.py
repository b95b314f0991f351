"""The answers that were asked for: one is written at a time, the others wait in a queue."""

import random
import time

from studio.pages.chat import quoting
from studio.pages.chat.conversation import Conversation, parts_of, without_thought
from studio.shell.elements import announce
from studio.shell.wording import t


class Answer:
    """A requested answer: the message that it answers, where it is written, and its progress. `before` is the text of
    an answer that is continued."""

    def __init__(self, conversation: Conversation, question: str, key: str):
        self.conversation, self.question, self.key = conversation, question, key
        self.text = self.before = conversation.node(key)["content"]
        self.request, self.retried = None, False
        self.began, self.thought = 0.0, False  # when its first word came; whether the model has finished to think

    @property
    def node(self) -> dict:
        return self.conversation.node(self.key)


class Answers:
    """`queue` holds the answers that wait, `active` is the one that is being written, `failed` the last one that
    failed."""

    def __init__(self, page):
        self.page, self.model = page, page.model
        self.queue, self.active, self.failed = [], None, None

    def all(self) -> list:
        """All answers that are not finished, of all chats."""
        return self.queue + ([self.active] if self.active else [])

    def ask(self, conversation: Conversation, question: str) -> Answer:
        """Adds an answer to the queue. The model that it needs is loaded, and downloaded if it must be."""
        key = conversation.add("assistant", "", time.time(), question)
        conversation.node(key)["stopped"] = "not answered"
        return self.wait(Answer(conversation, question, key))

    def go_on(self, conversation: Conversation, key: str) -> Answer:
        """Adds the rest of an answer that was cut off to the queue."""
        return self.wait(Answer(conversation, conversation.node(key)["parent"], key))

    def wait(self, answer: Answer) -> Answer:
        self.queue.append(answer)
        self.failed = None
        self.model.need()
        return answer

    def waits(self, answer: Answer) -> str:
        """Why an answer has no word yet."""
        engine, state = self.model.engine, self.model.state
        if answer is self.active:
            return t("Reading your message …")
        if state == "ready" and self.page.finding.waits(answer):
            return self.page.finding.waits(answer)
        if self.active is not None:
            return t("Waits for the answer above") if self.active.conversation is answer.conversation else \
                t("Waits for the answer in another chat")
        if engine.measuring:
            return t("Waits for the Lab, which is measuring")
        if engine.state == "failed":
            return t("Waits for the engine: see below")
        if state in ("idle", "failed", "elsewhere"):
            return t("Waits for the model: see below")
        return t("Waits for the model to be ready …")

    def pump(self) -> None:
        """Sends the engine the next answer's request."""
        if self.active is not None or not self.queue or self.model.state != "ready" or self.model.engine.measuring:
            return
        first: list = []  # the next answer of each chat: its questions are answered in their order
        for waiting in self.queue:
            if not any(waiting.conversation is other.conversation for other in first):
                first.append(waiting)
        ready = [waiting for waiting in first if self.page.finding.ready(waiting)]
        if not ready:
            return
        answer = self.active = ready[0]
        self.queue.remove(answer)
        settings = answer.conversation.sampling()
        if settings["seed"] is None:
            settings["seed"] = random.getrandbits(32)
        answer.node["seed"], answer.node["model"] = settings["seed"], self.model.name
        messages = quoting.messages(answer.conversation, answer.question, answer.node.get("quotes"))
        if answer.before:
            messages.append({"role": "assistant", "content": answer.before})
        request = {"model": self.model.name, "messages": messages, "stream": True}
        self.page.draw_waiting(answer)

        def heard(kind: str, body: dict) -> None:
            self.heard(answer, kind, body)
        answer.request = self.model.request("chat", request | settings, heard)
        self.model.engine.changed()

    def heard(self, answer: Answer, kind: str, body: dict) -> None:
        if kind == "chunk":
            for choice in body["choices"]:
                answer.text += choice["delta"].get("content") or ""
            answer.node["content"] = answer.text
            self.measure_thought(answer)
            self.page.draw_growing(answer)
            self.page.history.soon(answer.conversation)
            return
        self.active = None
        gone = self.page.history.gone(answer.conversation)
        node = answer.node
        node.pop("stopped", None)
        if kind == "result":
            if answer.before:
                body["usage"]["completion_tokens"] += tokens_of(node)
            node["stats"] = body
            if body["finish_reason"] == "abort":
                node["stopped"] = "stopped"
            if not gone:
                announce(t("Answer: %s") % without_thought(node)[:1500])
        elif body["code"] == "device_lost" and not answer.retried and not gone:
            self.again_later(answer)
            return
        elif body["code"] in ("aborted", "ended"):
            node["stopped"] = "stopped" if body["code"] == "aborted" else "interrupted"
        else:
            node["stopped"] = "not answered" if not answer.text else "interrupted"
            if not gone:
                self.failed = answer
                self.page.fails(body)
        answer.conversation.data["updated"] = time.time()
        self.page.draw_finished(answer)
        self.page.history.save_now(answer.conversation)
        self.model.engine.changed()

    def measure_thought(self, answer: Answer) -> None:
        """Notes for how long the model has been thinking, from its first word on."""
        if not answer.began:
            answer.began = time.time() - (answer.node.get("thought_for") or 0)
            answer.thought = bool(answer.before) and not parts_of(answer.before)[2]
        if not answer.thought:
            thought, _, thinking = parts_of(answer.text)
            if thought or thinking:
                answer.node["thought_for"] = round(time.time() - answer.began, 1)
            answer.thought = bool(thought) and not thinking

    def again_later(self, answer: Answer) -> None:
        """The GPU was lost meanwhile: the answer is written again, once; the engine loads the model for it."""
        answer.text, answer.retried, answer.node["content"] = answer.before, True, answer.before
        answer.began = 0.0
        if not answer.before:
            answer.node["stopped"] = "not answered"
        self.queue.insert(0, answer)
        self.page.draw_growing(answer)
        self.pump()

    def stop(self, conversation: Conversation) -> bool:
        """Stops the answer that is written in a chat; if there is none, removes those in the queue (then True)."""
        if self.active is not None and self.active.conversation is conversation:
            self.model.engine.abort(self.active.request)
            return False
        return self.withdraw(conversation)

    def withdraw(self, conversation: Conversation) -> bool:
        """Removes a chat's answers from the queue; whether there were some."""
        waiting = [answer for answer in self.queue if answer.conversation is conversation]
        for answer in reversed(waiting):
            self.queue.remove(answer)
            if not answer.before and not conversation.children(answer.key):
                conversation.remove(answer.key)
        return bool(waiting)

    def forget(self, conversation: Conversation) -> None:
        """A chat is deleted: nothing of its answers is left."""
        self.stop(conversation)
        self.withdraw(conversation)
        if self.failed is not None and self.failed.conversation is conversation:
            self.failed = None
            self.page.problem = None


def tokens_of(node: dict) -> int:
    return ((node.get("stats") or {}).get("usage") or {}).get("completion_tokens") or 0
