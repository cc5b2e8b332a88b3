"""Makes the samples in this folder. Each is the same small table, written another way.

    python make.py pandas  FOLDER   # once per version of pandas: pickles of that version
    python make.py parquet FOLDER   # needs pyarrow
    python make.py csv     FOLDER
    python make.py hostile FOLDER   # pickles that would run something if Python read them

The committed pickles were made with pandas 0.25.3 (numpy 1.17), 1.0.5, 1.1.5 (1.19), 1.2.5,
1.3.5 (1.21), 1.4.4 (1.22), 1.5.3 (1.24), 2.0.3, 2.2.3 (1.26), 2.3.3 (2.3), 3.0.0 (2.4, without
pyarrow) and 3.1.1 (2.4, with pyarrow). No row is anyone's: the numbers are made up here.
"""

import os
import pickle
import sys
import warnings


def frame():
    """Rows not in order of time, two at one time, integers of every width that pickles know."""
    import numpy as np
    import pandas as pd

    objects = lambda *values: np.array(values, dtype=object)
    return pd.DataFrame({
        "TRANSACTION_ID": [7, 3, 12, 5, 4, 9],
        "TX_DATETIME": pd.to_datetime([
            "2024-02-29 23:59:59", "2024-02-29 00:00:31", "2024-02-29 12:00:00",
            "2024-02-29 00:02:10", "2024-02-29 12:00:00", "2024-02-29 06:30:00",
        ]),
        "CUSTOMER_ID": objects(0, 255, 65535, 70000, 3000000000, 596),
        "TERMINAL_ID": objects(1, 256, 65536, 3156, 2147483648, 9007199254740993),
        "TX_AMOUNT": [57.16, 0.0, 146.0, 0.29, 123456.78, 1.1],
        "TX_TIME_SECONDS": objects(86399, 31, 43200, 130, 43200, 23400),
        "TX_TIME_DAYS": objects(0, 0, 0, 0, 0, 0),
        "TX_FRAUD": [0, 0, 1, 0, 1, 0],
        "TX_FRAUD_SCENARIO": [0, 0, 1, 0, 3, 0],
    })


IDS = ["CUSTOMER_ID", "TERMINAL_ID"]


def variants():
    """Tables that read like frame()."""
    import numpy as np
    import pandas as pd

    base = frame()
    with_column = lambda name, values: base.assign(**{name: values})
    yield "integers", base.astype({name: "int64" for name in IDS + ["TX_TIME_SECONDS", "TX_TIME_DAYS"]})
    yield "narrow", base.astype({"TRANSACTION_ID": "uint8", "TX_FRAUD": "int8", "TX_FRAUD_SCENARIO": "uint32"})
    yield "wide", base.astype({name: "uint64" for name in IDS})
    yield "big-endian", base.astype({"TRANSACTION_ID": ">i4", "TX_AMOUNT": ">f8"})
    yield "text", base.astype({name: str for name in IDS + ["TX_FRAUD"]})
    yield "scalars", with_column("CUSTOMER_ID", pd.Series([np.int64(i) for i in base.CUSTOMER_ID], dtype=object))
    yield "bool", base.astype({"TX_FRAUD": bool})
    yield "utc", with_column("TX_DATETIME", base.TX_DATETIME.dt.tz_localize("UTC"))
    yield "nanoseconds", with_column("TX_DATETIME", base.TX_DATETIME.astype("datetime64[ns]").astype("int64"))
    yield "indexed", base.set_index(pd.DatetimeIndex(base.TX_DATETIME.values, name="when"))
    yield "shuffled", base.iloc[[4, 0, 5, 2, 1, 3]]
    yield "columns", base[sorted(base.columns, reverse=True)]
    yield "more", base.assign(NAME=["a", "b", None, "d", "e", "f"], SCORE=[1.5, np.nan, 0, 0, 0, 0])
    yield "slice", pd.concat([base, base.assign(TRANSACTION_ID=base.TRANSACTION_ID + 100)]).iloc[:6]
    numbers = base.astype("int64", errors="ignore")[["TX_FRAUD", "TX_FRAUD_SCENARIO", "TRANSACTION_ID"]]
    fortran = pd.DataFrame(np.ascontiguousarray(numbers.values), columns=numbers.columns)
    yield "fortran", pd.concat([base.drop(columns=list(numbers.columns)), fortran], axis=1)


def pandas_pickles(folder):
    import pandas as pd

    version = ".".join(pd.__version__.split(".")[:2])
    highest = min(5, pickle.HIGHEST_PROTOCOL)
    for protocol in (2, 3, 4, 5) if version in ("1.5", "3.1") else (2, highest):
        frame().to_pickle(f"{folder}/{version}-{protocol}.pkl", protocol=protocol)
    if version in ("1.5", "3.1"):
        for name, table in variants():
            table.to_pickle(f"{folder}/{version}-{highest}-{name}.pkl", protocol=highest)


def parquet(folder):
    import pandas as pd

    base = frame()
    base = base.astype({name: "int64" for name in IDS + ["TX_TIME_SECONDS", "TX_TIME_DAYS"]})
    write = lambda name, table, **options: table.to_parquet(f"{folder}/{name}.parquet", index=False, **options)
    write("plain", base)
    for codec in ("gzip", "zstd"):
        write(codec, base, compression=codec)
    write("uncompressed", base, compression=None, use_dictionary=False)
    for unit in ("ms", "us", "ns"):
        write(unit, base.assign(TX_DATETIME=base.TX_DATETIME.astype(f"datetime64[{unit}]")))
    write("int96", base, use_deprecated_int96_timestamps=True)
    write("older", base, version="1.0", coerce_timestamps="ms")
    write("pages-v2", base, data_page_version="2.0")
    write("groups", base, row_group_size=2)
    write("utc", base.assign(TX_DATETIME=base.TX_DATETIME.dt.tz_localize("UTC")))
    write("text", base.astype({name: str for name in IDS}))
    write("narrow", base.astype({"TRANSACTION_ID": "uint8", "TX_FRAUD": "bool", "TERMINAL_ID": "uint64"}))
    write("required", base.astype({"CUSTOMER_ID": "uint32"}), schema=required(base))


def required(base):
    """Columns that cannot be without a value."""
    import pyarrow as pa

    schema = pa.Schema.from_pandas(base, preserve_index=False)
    return pa.schema([field.with_nullable(False) for field in schema])


def csv(folder):
    base = frame()
    base.to_csv(f"{folder}/plain.csv", index=False)
    base.to_csv(f"{folder}/indexed.csv")
    base.to_csv(f"{folder}/windows.csv", index=False, lineterminator="\r\n", encoding="utf-8-sig", quoting=1)
    iso = base.TX_DATETIME.dt.tz_localize("UTC").dt.tz_convert("Asia/Kathmandu").map(lambda t: t.isoformat())
    base.assign(TX_DATETIME=iso).to_csv(f"{folder}/offset.csv", index=False)
    base.assign(TX_DATETIME=base.TX_DATETIME.astype("datetime64[ms]").astype("int64")).to_csv(
        f"{folder}/milliseconds.csv", index=False)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def hostile(folder):
    import builtins
    import subprocess

    def write(name, value, protocol):
        with open(f"{folder}/{name}.pkl", "wb") as file:
            pickle.dump(value, file, protocol)

    for protocol in range(6):
        write(f"system-{protocol}", Call(os.system, "echo executed"), protocol)
    write("eval", Call(builtins.eval, "__import__('os').system('echo executed')"), 4)
    write("getattr", Call(builtins.getattr, "", "upper"), 4)
    write("popen", Call(subprocess.Popen, ["echo", "executed"]), 5)
    cell = frame()
    cell.loc[3, "CUSTOMER_ID"] = Call(os.system, "echo executed")
    cell.to_pickle(f"{folder}/in-a-cell.pkl", protocol=4)
    attributes = frame()
    attributes.attrs["note"] = Call(builtins.exec, "print('executed')")
    attributes.to_pickle(f"{folder}/in-attrs.pkl", protocol=5)
    # What Python's own writer does not write.
    by_hand = {
        "classic": b"cos\nsystem\n(S'echo executed'\ntR.",
        "inst": b"\x80\x02(X\x0d\x00\x00\x00echo executedios\nsystem\n.",
        # A dotted name, which Python follows from attribute to attribute.
        "dotted": b"\x80\x04\x8c\x06pandas\x8c\x10compat.os.system\x93\x8c\x0decho executed\x85R.",
        "extension": b"\x80\x02\x82\x01)R.",
        "persistent": b"\x80\x02K\x01Q.",
    }
    for name, content in by_hand.items():
        with open(f"{folder}/{name}.pkl", "wb") as file:
            file.write(content)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    what, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    {"pandas": pandas_pickles, "parquet": parquet, "csv": csv, "hostile": hostile}[what](folder)
