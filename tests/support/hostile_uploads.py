"""Files that a visitor might upload to break the page: name, bytes, and what the browser says."""

import bz2
import gzip
import io
import zipfile

CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
GZIP, BYTES = "application/gzip", "application/octet-stream"
_TABLE = b"text,label\nwin a prize,spam\nsee you at eight,ham\n"
_MILLIONS = 50_000_000


def archive(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name.replace("__", "/"), content)
    return made.getvalue()


def workbook(sheet: bytes, before: bytes = b"") -> bytes:
    """The smallest workbook, with this sheet."""
    kind = b'"application/vnd.openxmlformats-officedocument.spreadsheetml.'
    office = b"http://schemas.openxmlformats.org/"
    return archive(
        **{
            "[Content_Types].xml": b'<Types xmlns="%spackage/2006/content-types">'
            b'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
            b'relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType=%s'
            b'sheet.main+xml"/><Override PartName="/xl/s.xml" ContentType=%sworksheet+xml"/>'
            b"</Types>" % (office, kind, kind),
            "_rels__.rels": b'<Relationships xmlns="%spackage/2006/relationships"><Relationship '
            b'Id="r" Type="%sofficeDocument/2006/relationships/officeDocument" '
            b'Target="xl/workbook.xml"/></Relationships>' % (office, office),
            "xl__workbook.xml": before + b'<workbook xmlns="%sspreadsheetml/2006/main" xmlns:r="'
            b'%sofficeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="r"/>'
            b"</sheets></workbook>" % (office, office),
            "xl___rels__workbook.xml.rels": b'<Relationships xmlns="%spackage/2006/relationships">'
            b'<Relationship Id="r" Type="%sofficeDocument/2006/relationships/worksheet" '
            b'Target="s.xml"/></Relationships>' % (office, office),
            "xl__s.xml": b'<worksheet xmlns="%sspreadsheetml/2006/main"><sheetData>%s</sheetData>'
            b"</worksheet>" % (office, sheet),
        }
    )


_CELL = b'<c r="A%d" t="inlineStr"><is><t>%s</t></is></c>'
_ROWS = b"".join(b'<row r="%d">%s</row>' % (i, _CELL % (i, b"text")) for i in (1, 2))
_LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha">%s]>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
)

# What it is -> its name, its content, its kind.
UPLOADS: dict[str, tuple[str, bytes, str]] = {
    "no byte": ("a.csv", b"", CSV),
    "no byte, and no kind": ("a.csv", b"", ""),
    "blanks": ("a.csv", b" \n\t\n", CSV),
    "a byte-order mark and nothing else": ("a.csv", b"\xef\xbb\xbf", CSV),
    "NUL bytes": ("a.csv", b"\0" * 1000, CSV),
    "NUL bytes among the text": ("a.csv", b"text\nwin\0a\0prize\n", CSV),
    "UTF-16 without a mark": ("a.csv", _TABLE.decode().encode("utf-16-le"), CSV),
    "UTF-16 that is cut": ("a.csv", _TABLE.decode().encode("utf-16")[:-1], CSV),
    "UTF-32": ("a.csv", _TABLE.decode().encode("utf-32"), CSV),
    "no encoding at all": ("a.csv", bytes(range(256)) * 20, CSV),
    "halves of surrogate pairs": ("a.csv", b"text\n\xed\xa0\x80\xed\xb0\x80\n", CSV),
    "UTF-7": ("a.csv", b"text\n+ADw-script+AD4-\n", CSV),
    "a line of nearly two million letters": ("a.csv", b"text\n" + b"a" * 1_900_000, CSV),
    "a hundred thousand lines": ("a.csv", b"text\n" + b"a\n" * 100_000, CSV),
    "nearly a million columns": ("a.csv", b"," * 900_000 + b"\n" + b"," * 900_000, CSV),
    "a quote that never ends": ("a.csv", b'text\n"' + b"a\n" * 500_000, CSV),
    "half a million quotes": ("a.csv", b"text\n" + b'"' * 500_001, CSV),
    "formulas and escapes": ("a.csv", b"text\n=cmd|' /C calc'!A0\n\x1b[2J@SUM(A1)\n", CSV),
    "deep JSON": ("a.jsonl", b"[" * 500_000, BYTES),
    "deep objects": ("a.jsonl", b'{"text":' * 200_000, BYTES),
    "JSON that is NaN": ("a.jsonl", b'{"text": NaN}\n{"text": 1e999}\n', BYTES),
    "a number of a million digits": ("a.jsonl", b'{"text": ' + b"9" * 1_000_000 + b"}", BYTES),
    "half a surrogate pair in JSON": ("a.jsonl", b'{"text": "\\ud800"}', BYTES),
    "a program": ("a.exe", b"MZ\x90\0" * 100, "application/x-msdownload"),
    "a program that says it is a table": ("a.csv", b"\x7fELF\x02\x01\x01" + bytes(300), CSV),
    "a picture that says it is a table": ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(300), CSV),
    "a workbook that says it is a table": ("a.csv", workbook(_ROWS), CSV),
    "a table that says it is a workbook": ("a.xlsx", _TABLE, XLSX),
    "an archive of something else": ("a.xlsx", archive(**{"evil.txt": b"evil"}), XLSX),
    "a workbook that is cut": ("a.xlsx", workbook(_ROWS)[:400], XLSX),
    "a workbook that grows a thousand times": (
        "a.xlsx", workbook(b"<row>" + b" " * _MILLIONS + b"</row>"), XLSX,
    ),
    "entities that grow": ("a.xlsx", workbook(_ROWS, before=_LAUGHS), XLSX),
    "an entity that is a file": (
        "a.xlsx",
        workbook(_ROWS, before=b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), XLSX,
    ),
    "a cell in row two billion": (
        "a.xlsx", workbook(b'<row r="2000000000">' + _CELL % (2_000_000_000, b"x") + b"</row>"),
        XLSX,
    ),
    "one row of sixteen thousand columns above many": (
        "a.xlsx",
        workbook(b'<row><c r="XFD1"><v>1</v></c></row>' + b"<row><c><v>1</v></c></row>" * 50_000),
        XLSX,
    ),
    "a sheet of broken XML": ("a.xlsx", workbook(b"<row><c>"), XLSX),
    "a gzip bomb": ("a.csv.gz", gzip.compress(bytes(_MILLIONS)), GZIP),
    "a gzip bomb in a gzip": ("a.csv.gz", gzip.compress(gzip.compress(bytes(_MILLIONS))), GZIP),
    "gzip that is cut": ("a.csv.gz", gzip.compress(_TABLE)[:-9], GZIP),
    "gzip that is bzip2": ("a.csv.gz", bz2.compress(_TABLE), GZIP),
    "a pickle": ("a.csv", b"\x80\x04cposix\nsystem\n(S'id'\ntR.", CSV),
    "a web page": ("a.csv", b"<!DOCTYPE html><script>alert(1)</script>", CSV),
    "a name with folders above": ("../../../x.csv", _TABLE, CSV),
    "a name of another system": ("..\\..\\x.csv", _TABLE, CSV),
    "a name that is no more than an ending": (".csv", _TABLE, CSV),
    "a name that steers terminals": ("\x1b[31m\x07.csv", _TABLE, CSV),
    "a name that is turned round": ("\u202evsc.exe.csv", _TABLE, CSV),
    "a name of three thousand letters": ("a" * 3_000 + ".csv", _TABLE, CSV),
    "a name with two endings": ("a.csv.exe", _TABLE, CSV),
    "a kind that steers terminals": ("a.csv", b"", "\x1b[31m/csv"),
    "a name that is empty": ("", b"x", CSV),
}  # fmt: skip
