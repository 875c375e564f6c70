"""The forms of tables, a file each: bytes, text, separated cells, records, workbooks."""
