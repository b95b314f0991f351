"""A conversation: a tree of messages, of which one path is shown. Editing or regenerating adds a branch, so
nothing that was said is overwritten. Plain data (JSON as it stands); pure Python: CPython runs its tests."""

DEFAULTS = {  # sampling settings of a new conversation; None = chosen anew for each answer
    "temperature": 0.6, "top_p": 0.95, "min_p": 0.05, "top_k": 40, "repetition_penalty": 1.1,
    "max_tokens": 512, "seed": None,
}


class Conversation:
    """`data`: {"version", "id", "title", "created", "updated", "system", "sampling", "head", "from",
    "nodes": {id: {"parent", "role", "content", "time", ...}}}; times in seconds since 1970."""

    def __init__(self, data: dict):
        self.data = data

    @staticmethod
    def new(key: str, now: float, system: str = "", sampling: dict | None = None) -> "Conversation":
        return Conversation({
            "version": 1, "id": key, "title": "", "created": now, "updated": now, "system": system,
            "sampling": dict(sampling or {}), "head": None, "from": None, "nodes": {},
        })

    @property
    def id(self) -> str:
        return self.data["id"]

    @property
    def title(self) -> str:
        return self.data["title"] or "New chat"

    @property
    def empty(self) -> bool:
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
        key = "m%d" % (max([int(k[1:]) for k in nodes] or [0]) + 1)
        nodes[key] = {"parent": parent, "role": role, "content": content, "time": now}
        self.data["head"] = key
        self.data["updated"] = now
        if role == "user" and not self.data["title"]:
            self.data["title"] = shorten(content)
        return key

    def remove(self, key: str) -> None:
        """Takes back a leaf; the path ends at its parent, or at its newest sibling's."""
        if self.children(key):
            raise ValueError("The message %s has answers." % key)
        parent = self.node(key)["parent"]
        del self.data["nodes"][key]
        others = self.children(parent)
        self.data["head"] = self._newest_leaf(others[-1]) if others else parent

    def children(self, parent: str | None) -> list[str]:
        """In the order in which they were written."""
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

    def messages(self, until: str) -> list[dict]:
        """What the model is given to answer the message `until`: instructions, then the path to it, without the
        messages that were left out."""
        chosen = []
        key = until
        while key is not None:
            node = self.node(key)
            if node["content"]:
                chosen.append({"role": node["role"], "content": node["content"]})
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
        """The shown path as a document."""
        parts = ["# " + self.title]
        if self.data["system"]:
            parts.append("> " + self.data["system"].replace("\n", "\n> "))
        for key in self.path():
            node = self.node(key)
            who = "You" if node["role"] == "user" else node.get("model") or "Model"
            parts.append("**%s**\n\n%s" % (who, node["content"]))
        return "\n\n".join(parts) + "\n"


def shorten(text: str, limit: int = 48) -> str:
    """A title from a message: its first words."""
    words = text.split()
    title = ""
    for word in words:
        if title and len(title) + 1 + len(word) > limit:
            return title + "…"
        title = title + " " + word if title else word
    return title if len(title) <= limit else title[:limit] + "…"


def check(data) -> None:
    """Raises ValueError where `data` is not a conversation of ours: an imported file is not trusted."""
    if not isinstance(data, dict) or data.get("version") != 1 or not isinstance(data.get("id"), str):
        raise ValueError("This is not a conversation exported by TensorTab.")
    nodes = data.get("nodes")
    if not isinstance(nodes, dict) or not isinstance(data.get("title"), str) or not isinstance(data.get("system"), str):
        raise ValueError("The conversation is incomplete: export it again.")
    if not isinstance(data.get("sampling"), dict):
        raise ValueError("The conversation has no sampling settings: export it again.")
    for field in ("created", "updated"):
        if not isinstance(data.get(field), (int, float)):
            raise ValueError("The conversation has no dates: export it again.")
    for key, node in nodes.items():
        known = isinstance(node, dict) and node.get("role") in ("user", "assistant") and \
            isinstance(node.get("content"), str) and (node.get("parent") is None or node.get("parent") in nodes)
        if not known or key[:1] != "m" or not key[1:].isdigit():
            raise ValueError("The conversation has a broken message (%s): export it again." % key)
        if node.get("parent") is not None and int(node["parent"][1:]) >= int(key[1:]):
            raise ValueError("The conversation's messages refer to later ones (%s): export it again." % key)
    for field in ("head", "from"):
        if data.get(field) is not None and data[field] not in nodes:
            raise ValueError("The conversation points to a message that is not there: export it again.")
    if nodes and data.get("head") is None:
        raise ValueError("The conversation has no last message: export it again.")
    if not nodes:
        data["head"] = None
    data["from"] = data.get("from")
