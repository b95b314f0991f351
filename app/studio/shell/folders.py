"""The files in dropped folders."""

import js


def entries(transfer) -> list:
    """What was dropped, as FileSystemEntries; they must be asked for while the event is handled."""
    found = [item.webkitGetAsEntry() for item in getattr(js.Array, "from")(transfer.items)]
    return [entry for entry in found if entry is not None]


async def files_in(dropped: list, most: int, check=lambda: None) -> list:
    """The files among the entries and in their folders, as (path, File), hardly more than `most`. check() is called
    now and then, and may raise."""
    left = list(dropped)
    files: list = []
    while left and len(files) <= most:
        entry, waiting = left.pop(), js.Promise.withResolvers()
        if entry.isFile:
            entry.file(waiting.resolve, waiting.reject)
            files.append((entry.fullPath.strip("/"), await waiting.promise))
        else:
            reader = entry.createReader()
            while True:
                waiting = js.Promise.withResolvers()
                reader.readEntries(waiting.resolve, waiting.reject)
                listed = list(await waiting.promise)
                if not listed:
                    break
                left.extend(listed)
        check()
    return files
