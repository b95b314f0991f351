"""The Transcribe page writes down speech, from a file or live from the microphone, as text and as subtitles."""

import asyncio
import time

import js
from studio.pages.transcribe.subtitles import clock, later, plain, settled, srt, vtt
from studio.shell import audio, elements, routing
from studio.shell.elements import action, announce, button, el, fill, message_of, show
from studio.shell.files import file_name
from studio.shell.models import Failure, Model
from studio.shell.page import Page, Problem
from studio.shell.wording import duration, language_name, t
from studio.shell.work import begin_work, shorten

PAGE = {
    "place": 2,
    "title": "Transcribe",
    "about": "Write down speech, live or from a file",
    "tasks": ["automatic-speech-recognition"],
    "opens": ["audio/", "video/"],
    "icon": '<rect x="9" y="3.500" width="6" height="11" rx="3"/>'
            '<path d="M5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3"/>',
}

EVERY = 2.0  # seconds of new speech until the current window is transcribed again
WINDOW = 24.0  # seconds that are transcribed again; older parts stay

FILES = {"txt": (plain, "text/plain"), "srt": (srt, "application/x-subrip"), "vtt": (vtt, "text/vtt")}


class Transcribe(Page):
    def __init__(self, engine, name):
        self.model = Model(engine, "automatic-speech-recognition", t("Speech model"), t("Whisper model"),
                         t("Open the .safetensors and .json files of a Whisper model."))
        super().__init__(engine, name, t("Transcribe"), [self.model])
        self.make(t("What was said, in writing."),
                  t("Speak, or choose a recording or a video. It is transcribed on this device, which no sound "
                    "leaves."),
                  t("Drop a recording or a video here"))
        self.microphone, self.chunks, self.drawn, self.file_name = None, [], [], ""
        self.languages, self.heard = [], ""  # of a multilingual model; the language heard last
        pick = self.picker("audio/*,video/*", self.take)
        self.starts = [button(t("Record"), "record", cls="primary", sign="transcribe"),
                       button(t("Choose a recording"), "pick-audio", sign="file")]
        self.start = el("div", *self.starts, cls="row")
        self.spoken, self.english = el("select", id="spoken"), el("input", type="checkbox", id="english")
        self.wishes = el("div", el("div", el("label", t("Spoken language"), **{"for": "spoken"}), self.spoken),
                         el("div", self.english, el("label", t("Translate into English"), **{"for": "english"})),
                         cls="row wishes", hidden=True)
        self.level, self.time = el("span", cls="level"), el("b", "0:00", cls="time")
        self.recording = el("section", el("span", cls="dot live", aria_hidden="true"), self.time,
                            el("span", self.level, cls="levels", aria_hidden="true"),
                            button(t("Stop"), "record-stop", cls="primary", sign="stop"),
                            cls="notice recording", aria_label=t("Recording"), hidden=True)
        self.player = el("audio", controls=True, hidden=True)
        self.facts, self.list = el("p", cls="about"), el("ol", cls="said")
        self.tools = el("div", button(t("Copy"), "copy-result", sign="copy"),
                        button(t("Text"), "save", data_kind="txt"), button("SRT", "save", data_kind="srt"),
                        button("VTT", "save", data_kind="vtt"), cls="row")
        self.result = el("section", self.facts, self.player, self.tools, self.list, hidden=True)
        self.body.append(self.start, self.wishes, self.model.card.box, self.recording, self.work.box, self.result)
        self.keep_works(
            t("New transcript"), t("Your transcripts will be listed here."),
            [(t("Export as text"), "txt", "text/plain", lambda work: plain(work.data["chunks"])),
             (t("Export as subtitles (SRT)"), "srt", FILES["srt"][1], lambda work: srt(work.data["chunks"])),
             (t("Export as subtitles (VTT)"), "vtt", FILES["vtt"][1], lambda work: vtt(work.data["chunks"]))])
        action("pick-audio")(lambda _source: pick.click())
        action("record")(lambda _source: self.begin(self.listen(), t("It could not be transcribed")))
        action("record-stop")(lambda _source: self.stop())
        action("save")(self.save)
        action("seek")(self.seek)

    def filled(self) -> bool:
        return self.busy or bool(self.chunks)

    def copied_text(self) -> str:
        return plain(self.chunks)

    def take(self, files: list) -> None:
        if self.free():
            self.begin(self.transcribe(files[0]), t("Nothing was transcribed"))

    def update(self) -> None:
        super().update()
        self.offer(self.model.about.get("languages") or [])
        show(self.start, not self.busy)
        show(self.wishes, not self.busy and bool(self.languages))
        show(self.tools, not self.busy and bool(self.chunks))

    # The language

    def offer(self, languages: list) -> None:
        """Offers these language codes, sorted by their names."""
        if languages != self.languages:
            self.languages, self.english.checked = languages, False
            rows = sorted([(language_name(code), code) for code in languages])
            fill(self.spoken, *[el("option", name, value=code) for name, code in [(t("Detect it"), "")] + rows])

    def options(self) -> dict:
        """The options of the pipeline's call."""
        wish: dict = {"return_timestamps": True}
        if self.languages and self.spoken.value:
            wish["language"] = self.spoken.value
        if self.languages and self.english.checked:
            wish["task"] = "translate"
        return wish

    # A file

    async def transcribe(self, file) -> None:
        self.clear(file.name)
        self.running(t("Reading %s") % file.name)
        self.update()
        try:
            samples = await audio.decoded(file)
        except Exception as error:
            raise Problem(t("The browser cannot read %s as sound") % file.name, message_of(error)) from None
        self.check()
        total = samples.length / audio.RATE

        reached = [0.0]

        def told(body: dict) -> None:
            self.draw(body["chunks"])
            reached[0] = body["done"]
            self.keep([file.name, t("%s of %s") % (clock(reached[0]), clock(total))])
            done, spent = body["done"], time.time() - self.job.sent
            facts = [t("%s of %s") % (clock(done), clock(total))]
            if done:
                facts.append(t("about %s left") % duration(spent * (total - done) / done))
            self.running(t("Transcribing %s") % file.name, "  ·  ".join(facts), done / total)
        self.play(file)
        self.running(t("Transcribing %s") % file.name, clock(total))
        try:
            body = await self.write(samples, told)
        except Failure:  # also if it was cancelled: the part that is there stays
            await self.stopped_at(file, [file.name, t("stopped at %s of %s") % (clock(reached[0]), clock(total))])
            raise
        await self.finish(file, body["chunks"], [file.name, clock(total), self.heard,
                                                 t("written down in %s") % duration(self.took)])

    async def write(self, samples, told=lambda body: None) -> dict:
        wish = self.options()
        body = await self.ask(self.model, "task", wish, (samples,), (samples.buffer,), told)
        self.heard = language_name(body["language"])
        if self.languages and "language" not in wish:
            self.heard = t("%s (detected)") % self.heard
        if "task" in wish:
            self.heard = t("translated from %s") % self.heard
        self.list.lang = "en" if "task" in wish else body["language"]  # how a screen reader says it
        return body

    # The microphone

    async def listen(self) -> None:
        """Transcribes the last seconds of the recording again and again while it grows; older parts stay."""
        self.clear(t("recording"))
        microphone = audio.Microphone(self.hear)
        try:
            await microphone.start()
        except Exception as error:
            microphone.stop()
            raise Problem(t("The browser does not let this page use the microphone"), message_of(error)) from None
        self.microphone = microphone
        routing.live(self.name, True)
        show(self.recording)
        self.update()
        self.keep_focus(self.recording.querySelector("button"))
        announce(t("Recording."))
        fixed: list[dict] = []
        offset = written = 0.0
        sound = None
        try:
            while microphone.on or written < microphone.seconds:
                if microphone.on and microphone.seconds - written < EVERY:
                    await asyncio.sleep(0.1)
                    continue
                written = microphone.seconds
                samples, start = await microphone.samples(offset)
                body = await self.write(samples)
                found = later(body["chunks"], start)
                self.draw(fixed + found)
                self.keep([t("Recording"), clock(written), self.heard])
                count = settled(found, written - start, WINDOW)
                if count:
                    fixed, offset = fixed + found[:count], found[count - 1]["timestamp"][1]
        except Failure:
            await self.stopped_at(None, [t("Recording"), t("stopped at %s of %s") % (clock(offset), clock(written))])
            raise
        finally:
            microphone.stop()
            routing.live(self.name, False)
            self.microphone = None
            show(self.recording, False)
            if microphone.seconds:
                sound = audio.wav((await microphone.samples(0.0))[0])
                self.play(sound)
        await self.finish(sound, self.chunks, [t("Recording"), clock(microphone.seconds), self.heard])

    def hear(self, peak: float) -> None:
        self.time.textContent = clock(self.microphone.seconds)
        self.level.style.width = "%d%%" % min(100, 100 * peak ** 0.5)

    def stop(self) -> None:
        """Ends the recording; its last words are still transcribed."""
        self.microphone.stop()
        routing.live(self.name, False)
        show(self.recording, False)
        self.running(t("Writing the last words"))

    def cancel(self) -> None:
        """Called by Escape: ends a recording as its button does; a second call gives up what is not written yet."""
        if self.microphone is not None and self.microphone.on:
            self.stop()
        else:
            super().cancel()

    # What was said

    def clear(self, name: str) -> None:
        self.file_name, self.current = name.rpartition(".")[0] or name, None
        self.facts.textContent = ""
        self.draw([])
        self.player.removeAttribute("src")
        show(self.player, False)
        show(self.result, False)

    def play(self, blob) -> None:
        if self.player.src:
            js.URL.revokeObjectURL(self.player.src)
        self.player.src = js.URL.createObjectURL(blob)
        show(self.player)

    def draw(self, chunks: list) -> None:
        """Draws only what changed, because a long transcript grows at its end."""
        self.chunks = chunks
        now = [(chunk["timestamp"][0], chunk["text"].strip()) for chunk in chunks]
        same = 0
        while same < min(len(now), len(self.drawn)) and now[same] == self.drawn[same]:
            same += 1
        while self.list.childElementCount > same:
            self.list.lastElementChild.remove()
        for start, text in now[same:]:
            said = t("Play from %s") % clock(start)
            self.list.append(el("li", button(clock(start), "seek", cls="time", data_time=start, aria_label=said),
                                el("span", text, dir="auto")))
        first = bool(now) and not self.drawn
        self.drawn = now
        show(self.result, bool(now))
        if first:
            self.reveal(self.result)

    async def finish(self, sound, chunks: list, facts: list) -> None:
        self.draw(chunks)
        show(self.result)
        await self.stopped_at(sound, facts if chunks else [t("No speech was found in it.")])
        announce(t("Transcribed: %s") % plain(chunks)[:1500])

    def keep(self, facts: list) -> None:
        """Keeps what is written down so far."""
        if self.chunks:
            if self.current is None:
                title = self.file_name if facts[0] != t("Recording") else shorten(plain(self.chunks))
                self.current = begin_work(title)
                self.mark()
            facts = [fact for fact in facts if fact]
            self.current.change(chunks=self.chunks, facts="  ·  ".join(facts), language=self.list.lang)
            self.history.soon(self.current)

    async def stopped_at(self, sound, facts: list) -> None:
        """Nothing more will be written down."""
        self.facts.textContent = "  ·  ".join([fact for fact in facts if fact])
        self.keep(facts)
        if self.current is not None and not self.history.gone(self.current):
            if sound is not None:
                await self.history.keep_file(self.current, sound)
            await self.history.save(self.current)

    async def show_work(self, work) -> None:
        self.clear(work.title)
        self.current, self.file_name, self.list.lang = work, work.title, work.data["language"]
        self.draw(work.data["chunks"])
        self.facts.textContent = work.data["facts"]
        self.update()
        sound = await self.history.file(work)
        if sound is not None and self.current is work:
            self.play(sound)

    def new_work(self) -> None:
        self.clear("recording")
        super().new_work()
        self.update()

    def save(self, source) -> None:
        kind = source.getAttribute("data-kind")
        write, mime = FILES[kind]
        elements.download(file_name(self.file_name, "." + kind), write(self.chunks), mime)

    def seek(self, source) -> None:
        self.player.currentTime = float(source.getAttribute("data-time"))
        self.player.play()
