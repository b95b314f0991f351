"""A conversation is a tree of messages, of which one path is shown. Editing or regenerating adds a branch, so nothing
is overwritten. The data is plain JSON. Pure Python: CPython runs its tests."""

from studio.shell.files import check_files
from studio.shell.parse import parse
from studio.shell.wording import t
from studio.shell.work import Work, shorten

DEFAULTS = {  # sampling settings of a new conversation; None = chosen anew for each answer
    "temperature": 0.6, "top_p": 0.95, "min_p": 0.05, "top_k": 40, "repetition_penalty": 1.1,
    "max_tokens": 512, "seed": None,
}

# The tags around a model's thoughts: of Qwen and R1, of others, of Magistral
THOUGHTS = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"))


class Conversation(Work):
    """`data`: {"version", "id", "title", "created", "updated", "system", "sampling", "head", "from",
    "nodes": {id: {"parent", "role", "content", "time", ...}}}; times in seconds since 1970. The content of an answer
    has everything that the model wrote, its thoughts too."""

    @staticmethod
    def new(key: str, now: float, system: str = "", sampling: dict | None = None) -> "Conversation":
        return Conversation({
            "version": 1, "id": key, "title": "", "created": now, "updated": now, "system": system,
            "sampling": dict(sampling or {}), "head": None, "from": None, "nodes": {},
        })

    @property
    def title(self) -> str:
        return self.data["title"] or t("New chat")

    @property
    def empty(self) -> bool:  # type: ignore[override]
        return not self.data["nodes"]

    def node(self, key: str) -> dict:
        return self.data["nodes"][key]

    def path(self) -> list[str]:
        """The ids of the shown messages, oldest first."""
        keys, key = [], self.data["head"]
        while key is not None:
            keys.append(key)
            key = self.node(key)["parent"]
        keys.reverse()
        return keys

    def add(self, role: str, content: str, now: float, parent: str | None = None) -> str:
        """Appends a message under `parent` and shows its path; returns its id."""
        nodes = self.data["nodes"]
        key = self._new_key()
        nodes[key] = {"parent": parent, "role": role, "content": content, "time": now}
        self.data["head"] = key
        self.data["updated"] = now
        if role == "user" and not self.data["title"]:
            self.data["title"] = shorten(content)
        return key

    def remove(self, key: str) -> None:
        """Removes a leaf; the path then ends at its parent, or at its newest sibling's leaf."""
        if self.children(key):
            raise ValueError("The message %s has answers." % key)
        parent = self.node(key)["parent"]
        del self.data["nodes"][key]
        others = self.children(parent)
        self.data["head"] = self._newest_leaf(others[-1]) if others else parent

    def merge(self, stored: dict) -> None:
        """Merges the messages of another tab's version, as branches. Messages are the same if their time, role and
        place are, because both tabs may have used one id. Answers without a word yet are left to their tab."""
        nodes = self.data["nodes"]
        same: dict = {None: None}
        places = {(node["parent"], node["role"], node["time"]): key for key, node in nodes.items()}
        asked = [node["parent"] for node in stored["nodes"].values()]
        for key in sorted(stored["nodes"], key=lambda key: int(key[1:])):
            node = stored["nodes"][key]
            place = (same.get(node["parent"]), node["role"], node["time"])
            if place in places:
                same[key] = places[place]
            elif node["content"] or key in asked:
                same[key] = self._new_key()
                nodes[same[key]] = dict(node, parent=place[0])

    def _new_key(self) -> str:
        return "m%d" % (max([int(key[1:]) for key in self.data["nodes"]] or [0]) + 1)

    def children(self, parent: str | None) -> list[str]:
        """The messages' ids in the order in which they were written."""
        keys = [k for k, n in self.data["nodes"].items() if n["parent"] == parent]
        return sorted(keys, key=lambda k: int(k[1:]))

    def siblings(self, key: str) -> list[str]:
        return self.children(self.node(key)["parent"])

    def turn_to(self, key: str) -> None:
        """Shows the branch of this message, down to its newest leaf."""
        self.data["head"] = self._newest_leaf(key)

    def _newest_leaf(self, key: str) -> str:
        below = self.children(key)
        while below:
            key = below[-1]
            below = self.children(key)
        return key

    def sampling(self) -> dict:
        return DEFAULTS | self.data["sampling"]

    def messages(self, until: str, said=None) -> list[dict]:
        """The request's messages for an answer to the message `until`: the instructions, then the path to it, without
        the messages that were left out. The model does not see what it thought before, as the templates of such models
        want it. said(key): what the request says of a message, which is its text if left out."""
        chosen = []
        key = until
        while key is not None:
            node = self.node(key)
            content = said(key) if said else without_thought(node)
            if content:
                chosen.append({"role": node["role"], "content": content})
            key = None if key == self.data["from"] else node["parent"]
        if self.data["system"]:
            chosen.append({"role": "system", "content": self.data["system"]})
        chosen.reverse()
        return chosen

    def leave_out_oldest(self, until: str) -> bool:
        """Moves the model's view past the oldest exchange before `until`; False when nothing more can go."""
        keys, key = [], until
        while key is not None:
            keys.append(key)
            key = None if key == self.data["from"] else self.node(key)["parent"]
        keys.reverse()
        for key in keys[1:]:
            if self.node(key)["role"] == "user":
                self.data["from"] = key
                return True
        return False

    def markdown(self) -> str:
        """The shown path as a Markdown document, what a model thought as a quotation."""
        parts = ["# " + self.title]
        if self.data["system"]:
            parts.append("> " + self.data["system"].replace("\n", "\n> "))
        for key in self.path():
            node = self.node(key)
            who = t("You") if node["role"] == "user" else node.get("model") or t("Model")
            parts.append("**%s**" % who)
            parts += ["*%s*" % file["name"] for file in node.get("files", [])]
            thought = parts_of(node["content"])[0] if node["role"] == "assistant" else ""
            if thought:
                parts.append("> " + thought.replace("\n", "\n> "))
            parts.append(without_thought(node))
        return "\n\n".join(parts) + "\n"


def parts_of(content: str) -> tuple[str, str, bool]:
    """(what the model thought, its answer, whether it is still thinking) of the text of an answer. Some templates open
    the thought in the prompt: then the text begins inside it, and is known to be one when the closing tag comes."""
    text = content.lstrip()
    for opening, closing in THOUGHTS:
        if len(text) > 1 and opening.startswith(text):  # the tag is being written
            return "", "", True
        if text.startswith(opening):
            thought, closed, answer = text[len(opening):].partition(closing)
            return thought.strip(), answer.lstrip(), not closed
        end = text.find(closing)
        while end >= 0 and not is_end(text, end, closing):
            end = text.find(closing, end + 1)
        if end >= 0:
            return text[:end].strip(), text[end + len(closing):].lstrip(), False
    return "", content, False


def is_end(text: str, place: int, closing: str) -> bool:
    """Whether the closing tag at this place ends the thought in which the text began: it ends a line, not in code."""
    rest = text[place + len(closing):]
    return (not rest or rest[0] == "\n") and text[:place].count("```") % 2 == 0


def without_thought(node: dict) -> str:
    """The text of a message, without what the model thought before its answer."""
    return parts_of(node["content"])[1] if node["role"] == "assistant" else node["content"]


def exported(text: str) -> list[dict]:
    """The data of the conversations in an exported file, one or many. Raises ValueError."""
    try:
        data = parse(text)
    except ValueError:
        raise ValueError(t("The file is not JSON: choose one that TensorTab has exported.")) from None
    found = data["conversations"] if isinstance(data, dict) and "conversations" in data else [data]
    if not isinstance(found, list):
        raise ValueError(t("This is not a file exported by TensorTab."))
    return [check(item) for item in found]


def check(data) -> dict:
    """The conversation in `data`, with only the fields that we know, because an imported file is not trusted. Raises
    ValueError if it is not a conversation of ours."""
    if not isinstance(data, dict) or data.get("version") != 1 or not isinstance(data.get("id"), str):
        raise ValueError(t("This is not a conversation exported by TensorTab."))
    nodes = data.get("nodes")
    if not isinstance(nodes, dict) or not isinstance(data.get("title"), str) or not isinstance(data.get("system"), str):
        raise ValueError(t("The conversation is incomplete: export it again."))
    if not isinstance(data.get("sampling"), dict):
        raise ValueError(t("The conversation has no sampling settings: export it again."))
    if not is_number(data.get("created")) or not is_number(data.get("updated")):
        raise ValueError(t("The conversation has no dates: export it again."))
    found = {name: data[name] for name in ("version", "id", "title", "created", "updated", "system")}
    found["sampling"] = {name: data["sampling"][name] for name in DEFAULTS if is_number(data["sampling"].get(name))}
    for name in ("top_k", "max_tokens", "seed"):
        if name in found["sampling"]:
            found["sampling"][name] = int(found["sampling"][name])
    found["nodes"] = {key: check_node(key, node, nodes) for key, node in nodes.items()}
    for field in ("head", "from"):
        found[field] = data.get(field)
        if found[field] is not None and not (isinstance(found[field], str) and found[field] in nodes):
            raise ValueError(t("The conversation points to a message that is not there: export it again."))
    if nodes and found["head"] is None:
        raise ValueError(t("The conversation has no last message: export it again."))
    return found


def check_node(key: str, node, nodes: dict) -> dict:
    """Checks one message of the conversation."""
    parent = node.get("parent") if isinstance(node, dict) else None
    known = isinstance(node, dict) and node.get("role") in ("user", "assistant") and \
        isinstance(node.get("content"), str) and (parent is None or (isinstance(parent, str) and parent in nodes))
    if not known or number_of(key) is None:
        raise ValueError(t("The conversation has a broken message (%s): export it again.") % key)
    if parent is not None and (number_of(parent) or 0) >= number_of(key):
        raise ValueError(t("The conversation's messages refer to later ones (%s): export it again.") % key)
    found = {"parent": parent, "role": node["role"], "content": node["content"], "time": 0}
    for name in ("time", "seed", "thought_for"):  # the seconds for which the model thought
        if is_number(node.get(name)):
            found[name] = node[name]
    for name in ("stopped", "model"):
        if isinstance(node.get(name), str):
            found[name] = node[name]
    if "files" in node:
        found["files"] = check_files(node["files"])
    if "quotes" in node:
        found["quotes"] = check_quotes(node["quotes"])
    if isinstance(node.get("stats"), dict):
        found["stats"] = stats = {}
        for group in ("usage", "timings"):
            if isinstance(node["stats"].get(group), dict):
                stats[group] = {name: value for name, value in node["stats"][group].items() if is_number(value)}
        if isinstance(node["stats"].get("finish_reason"), str):
            stats["finish_reason"] = node["stats"]["finish_reason"]
    return found


def check_quotes(quotes) -> list:
    for quote in quotes if isinstance(quotes, list) else [None]:
        known = isinstance(quote, dict) and isinstance(quote.get("file"), str) and isinstance(quote.get("passage"), int)
        if not known or quote["passage"] < 0:
            raise ValueError(t("The quotes of a message are broken: export the chat again."))
    return [{"file": quote["file"], "passage": quote["passage"]} for quote in quotes]


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e15 < value < 1e15


def number_of(key: str) -> int | None:
    """7 of "m7"; None if it is not a message's id."""
    digits = key[1:]
    return int(digits) if key[:1] == "m" and 0 < len(digits) < 16 and not digits.strip("0123456789") else None
