"""IndexedDB: databases of one store each, whose records have an `id`. A connection that the browser closes (the user
cleared the site's storage, the disk had trouble) is opened again, and the operation repeated."""

import js
from jsffi import create_proxy
from studio.shell.elements import attempt, storage
from studio.shell.wording import t

PATIENCE = 10.0  # seconds until an opening that does not answer is told as an error
TRIES = 3  # a connection may be found closed, and its opening fail once
FINAL = ("QuotaExceededError", "VersionError", "DataCloneError")  # errors that another try meets again


class Database:
    """All operations raise OSError or JsException; all of an operation is stored, or nothing of it."""

    def __init__(self, name: str, store: str):
        self.name, self.store = name, store
        self.opened = 0  # counts the connections: what was true of the records before may not be true of a new one
        self._connection: js.JsProxy | None = None
        self._opening = None  # a promise

    @property
    def available(self) -> bool:
        """Whether the browser keeps anything for this page."""
        return self.opened > 0

    async def all(self) -> list:
        """All records, in the order of their ids."""
        return list(await self._run("readonly", lambda store: store.getAll()))

    async def get(self, key: str):
        """A record; None if there is none."""
        found = await self._run("readonly", lambda store: store.get(key))
        return found if hasattr(found, "id") else None

    async def change(self, remove=(), put=()) -> None:
        """Removes the records of the keys `remove`, then stores the records `put`."""
        def work(store) -> None:
            for key in remove:
                store.delete(key)
            for record in put:
                store.put(record)
        await self._run("readwrite", work)

    async def update(self, key: str, change) -> None:
        """Stores the record `change(before)`, unless it is None. before: the record of the key, or None. Reading and
        writing are one transaction, so no other browser tab writes between. `change` may be called again."""
        wrong: list = []

        def work(store) -> None:
            request = store.get(key)

            def found(_event) -> None:
                try:
                    record = change(request.result if hasattr(request.result, "id") else None)
                except Exception as error:  # the browser would only report it, and commit
                    wrong.append(error)
                    store.transaction.abort()
                else:
                    if record is not None:
                        store.put(record)
            request.addEventListener("success", create_proxy(found))
        try:
            await self._run("readwrite", work)
        except Exception:
            if wrong:
                raise wrong[0] from None
            raise

    # The connection

    async def _run(self, mode: str, work):
        """The result of the request that `work(store)` returns, when its transaction is complete."""
        for tries in range(TRIES):
            connection = None
            try:
                connection = await self._connected()
                return await self._transaction(connection, mode, work)
            except Exception as error:
                if tries == TRIES - 1 or isinstance(error, OSError) or name_of(error) in FINAL:
                    raise
                self._forget(connection)

    async def _transaction(self, connection, mode: str, work):
        """Everything is requested before Python waits: as soon as nothing is requested, a transaction ends. The promise
        is not what `begun` returns: MicroPython may free a JavaScript object before the caller has it."""
        ended = js.Promise.withResolvers()

        def begun(transaction) -> None:
            request = work(transaction.objectStore(self.store))

            def aborted(_event) -> None:
                error = transaction.error
                ended.reject(js.Error.new(t("The browser did not store it.")) if error is None else error)
            transaction.addEventListener("complete", create_proxy(
                lambda _event: ended.resolve(None if request is None else request.result)))
            transaction.addEventListener("abort", create_proxy(aborted))
        attempt(connection, "transaction", self.store, mode).then(create_proxy(begun)).catch(ended.reject)
        return await ended.promise

    async def _connected(self):
        if hasattr(storage, "blocked"):
            raise OSError(t("Storage is blocked for this site."))
        if self._connection is None:
            if self._opening is None:
                self._opening = self._open()
            opening, late = self._opening, js.Promise.withResolvers()
            timer = js.setTimeout(late.resolve, 1000 * PATIENCE)
            try:
                await js.Promise.race(js.Array.of(opening, late.promise))
            except Exception as error:
                self._opening = None
                if name_of(error) == "VersionError":
                    raise OSError(t("A newer version of TensorTab is open in another tab: reload this page.")) from None
                raise
            finally:
                js.clearTimeout(timer)
            if self._connection is None:
                raise OSError(t("The browser does not open its storage: close the other tabs of this site."))
        return self._connection

    def _open(self):
        """A promise that resolves when the database is open."""
        opened = js.Promise.withResolvers()

        def requested(request) -> None:
            def upgrade(_event) -> None:
                request.result.createObjectStore(self.store, js.JSON.parse('{"keyPath": "id"}'))

            def success(_event) -> None:
                self._connection = connection = request.result
                self.opened += 1
                # "versionchange": another tab deletes the database, or is of a newer version that needs other stores
                for event in ("close", "versionchange"):
                    connection.addEventListener(event, create_proxy(lambda _event: self._forget(connection)))
                opened.resolve()
            request.addEventListener("upgradeneeded", create_proxy(upgrade))
            request.addEventListener("success", create_proxy(success))
            request.addEventListener("error", create_proxy(lambda _event: opened.reject(request.error)))
        attempt(js.indexedDB, "open", self.name, 1).then(create_proxy(requested)).catch(opened.reject)
        return opened.promise

    def _forget(self, connection) -> None:
        """Closes a connection, unless that is done; the next operation opens a new one."""
        if connection is not None and connection is self._connection:
            connection.close()
            self._connection = self._opening = None


def name_of(error) -> str:
    """The name of what JavaScript threw; "" for an exception of Python."""
    return error.args[1] if len(error.args) == 3 else ""
