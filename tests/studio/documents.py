"""Documents of the tests: PDFs and Word files, as small as they can be."""

import io
import zipfile

HELVETICA = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
# A Korean font that is not in the file, in an encoding that readers must have
MYEONGJO = """<< /Type /Font /Subtype /Type0 /BaseFont /HYSMyeongJo-Medium /Encoding /UniKS-UCS2-H /DescendantFonts [
<< /Type /Font /Subtype /CIDFontType0 /BaseFont /HYSMyeongJo-Medium
/CIDSystemInfo << /Registry (Adobe) /Ordering (Korea1) /Supplement 1 >>
/FontDescriptor << /Type /FontDescriptor /FontName /HYSMyeongJo-Medium /Flags 6 /FontBBox [0 -148 1001 880]
/ItalicAngle 0 /Ascent 880 /Descent -148 /CapHeight 880 /StemV 80 >> >>] >>"""


def pdf(*pages: str, locked: bool = False) -> bytes:
    """A PDF with these texts, one a page; "" is a page without text. locked: it asks for a password."""
    korean = any(ord(letter) > 255 for page in pages for letter in page)
    count = len(pages)
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {count} /Kids [{' '.join(f'{4 + 2 * n} 0 R' for n in range(count))}] >>",
        MYEONGJO if korean else HELVETICA,
    ]
    for n, page in enumerate(pages):
        shown = []
        for line in page.split("\n"):
            data = line.encode("utf-16-be" if korean else "cp1252")
            shown.append(f"<{data.hex()}> Tj 0 -14 Td")
        stream = f"BT /F1 12 Tf 72 720 Td {' '.join(shown)} ET" if page else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
            f" /Contents {5 + 2 * n} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    xref = len(out)
    out += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    lock = f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'ab' * 32}> /U <{'cd' * 32}> >> /ID [<00> <00>]"
    trailer = f"<< /Size {len(places) + 1} /Root 1 0 R {lock * locked} >>"
    return out + f"trailer\n{trailer}\nstartxref\n{xref}\n%%EOF".encode()


W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TYPES = """<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.xml"
ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"""
RELATIONS = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1"
Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
Target="word/document.xml"/></Relationships>"""


def docx(*paragraphs: str, extra: str = "") -> bytes:
    """A Word file with these paragraphs, of which those that begin with "# " are headings."""
    body = ""
    for text in paragraphs:
        style = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>' if text.startswith("# ") else ""
        body += f"<w:p>{style}<w:r><w:t>{text.removeprefix('# ')}</w:t></w:r></w:p>"
    return packed({
        "[Content_Types].xml": TYPES, "_rels/.rels": RELATIONS,
        "word/document.xml": f'<w:document xmlns:w="{W}"><w:body>{body}{extra}</w:body></w:document>',
        "word/media/large.bin": "0" * 100_000,
    })  # fmt: skip


def packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()
