"""Changes elements into those of a longer text, so that what is marked, focused or scrolled in them stays so."""

changed_code: list = []  # (the element of a code, whether it has lost its colours) since colour() was called


def alike(old, new) -> bool:
    """Whether two nodes are the same but for their children, or are two texts."""
    if old.nodeType == 3 or new.nodeType == 3:
        return old.nodeType == new.nodeType
    return old.cloneNode(False).isEqualNode(new.cloneNode(False))


def grow(old, new) -> None:
    """Makes the children of `old` those of `new`. A node that has not changed stays, and a text gets what is new at
    its end: so what is marked, focused or scrolled there stays so."""
    mine, other = old.firstChild, new.firstChild
    while mine is not None and other is not None:
        if not mine.isEqualNode(other):
            if not alike(mine, other):
                break
            if mine.nodeType == 3 or mine.nodeName == "CODE":  # whose colours are another matter
                grow_text(mine, other.textContent)
            else:
                grow(mine, other)
        mine, other = mine.nextSibling, other.nextSibling
    while mine is not None:
        mine, gone = mine.nextSibling, mine
        gone.remove()
    while other is not None:
        other, added = other.nextSibling, other
        old.append(added)


def grow_text(node, text: str) -> None:
    """Changes the text of a text node or of an element that holds only text."""
    had = node.textContent
    if text == had:
        return
    if not text.startswith(had):
        node.textContent = text
    elif node.nodeType == 3:
        node.appendData(text[len(had):])
    elif node.lastChild is not None and node.lastChild.nodeType == 3:
        node.lastChild.appendData(text[len(had):])
    else:
        node.append(text[len(had):])
    if node.nodeName == "CODE":
        changed_code.append((node, not text.startswith(had)))
