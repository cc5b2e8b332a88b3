"""Makes the samples in this folder. Each is the same small table, written another way.

    python make.py pandas  FOLDER   # once per version of pandas: pickles of that version
    python make.py parquet FOLDER   # needs pyarrow
    python make.py csv     FOLDER
    python make.py hostile FOLDER   # pickles that would run something if Python read them
    python make.py others  FOLDER   # of pandas 2.3 and 3.1: columns and indexes beside, and other types
    python make.py tools   FOLDER   # Parquet of pyarrow, DuckDB, polars and fastparquet
    python make.py refused FOLDER   # what is not read, and has to be refused in true words

The committed pickles were made with pandas 0.25.3 (numpy 1.17), 1.0.5, 1.1.5 (1.19), 1.2.5,
1.3.5 (1.21), 1.4.4 (1.22), 1.5.3 (1.24), 2.0.3, 2.2.3 (1.26), 2.3.3 (2.3), 3.0.0 (2.4, without
pyarrow) and 3.1.1 (2.4, with pyarrow); `others` with 2.3.3 and 3.1.1, `tools` and `refused` with 3.1.1,
pyarrow 26.0.1, DuckDB 2.0.1, polars 2.1.0, fastparquet 2026.9.0 and joblib 1.6.0. No row is anyone's: the numbers are made up here.
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


def others():
    """More tables that read like frame(): what nobody reads may be anything."""
    import datetime
    import decimal
    import uuid
    import zoneinfo

    import numpy as np
    import pandas as pd
    import pyarrow as pa

    base = frame().astype({name: "int64" for name in IDS + ["TX_TIME_SECONDS", "TX_TIME_DAYS"]})
    count = len(base)
    yield "beside", base.assign(
        DATE=base.TX_DATETIME.dt.date, SPAN=base.TX_DATETIME - base.TX_DATETIME.min(), SPANS=[datetime.timedelta(1)] * count,
        CATEGORY=pd.Categorical(list("abcabc")), DECIMAL=[decimal.Decimal("1.5")] * count, UUID=uuid.UUID(int=7),
        INTERVAL=pd.cut(base.TX_AMOUNT, 2), PERIOD=base.TX_DATETIME.dt.to_period("D"), SPARSE=pd.arrays.SparseArray([0, 1] * 3),
        TIMES=pd.Series(list(base.TX_DATETIME), dtype=object), SET=[{1, 2}] * count, FROZEN=[frozenset([1])] * count,
        HALF=np.arange(count).astype("f2"), COMPLEX=np.arange(count) * 1j, HUGE=[2**100] * count, NOTHING=[pd.NaT, pd.NA, None] * 2,
        ZONED=base.TX_DATETIME.dt.tz_localize("Europe/Paris"), NULLABLE=pd.Series([1, None] * 3, dtype="Int64"))
    yield "multiindex", base.set_index(["CUSTOMER_ID", "TX_DATETIME"], drop=False)
    yield "frequency", base.set_index(pd.date_range("2024-02-29", periods=count, freq="h", tz="Europe/Paris"))
    yield "categories", base.set_index(pd.CategoricalIndex(list("ababab")))
    for storage in ("python", "pyarrow"):
        yield f"string-{storage}", base.astype({name: pd.StringDtype(storage) for name in IDS})
    yield "nullable", base.convert_dtypes()
    yield "nullable-few", base.astype({"TERMINAL_ID": "Int64", "TX_AMOUNT": "Float64", "TX_FRAUD": "boolean"})
    arrow = base.astype({"TERMINAL_ID": "int64[pyarrow]", "TX_AMOUNT": "double[pyarrow]", "TX_FRAUD": "bool[pyarrow]",
                         "TX_DATETIME": "timestamp[us][pyarrow]", "CUSTOMER_ID": "string[pyarrow]"})
    yield "arrow", arrow
    yield "arrow-slice", pd.concat([arrow.iloc[3:], arrow]).iloc[3:]
    exact = [decimal.Decimal(f"{amount:.2f}") for amount in base.TX_AMOUNT]
    yield "arrow-decimal", base.assign(TX_AMOUNT=pd.Series(exact, dtype=pd.ArrowDtype(pa.decimal128(10, 2))))
    yield "decimal", base.assign(TX_AMOUNT=exact)
    yield "floats", base.astype({"CUSTOMER_ID": float, "TX_FRAUD": float, "TX_FRAUD_SCENARIO": "f2"})
    paris = base.TX_DATETIME.dt.tz_localize("UTC").dt.tz_convert(zoneinfo.ZoneInfo("Europe/Paris"))
    yield "zoneinfo", base.assign(TX_DATETIME=paris)
    yield "zone-fixed", base.assign(TX_DATETIME=base.TX_DATETIME.dt.tz_localize("UTC").dt.tz_convert("+05:30"))
    yield "timestamps", base.assign(TX_DATETIME=pd.Series(list(base.TX_DATETIME), dtype=object))
    python = pd.Series([time.to_pydatetime() for time in base.TX_DATETIME], dtype=object)
    yield "datetimes", base.assign(TX_DATETIME=python)
    yield "lower-case", base.rename(columns=str.lower)


def other_pickles(folder):
    import pandas as pd

    version = ".".join(pd.__version__.split(".")[:2])
    for name, table in others():
        for protocol in (2, 5) if name in ("zoneinfo", "beside", "datetimes") else (5,):
            table.to_pickle(f"{folder}/{version}-{protocol}-{name}.pkl", protocol=protocol)


def tools(folder):
    """Each tool's own way to write what it has defaults for."""
    import decimal
    import uuid

    import duckdb
    import fastparquet
    import numpy as np
    import polars
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = frame().astype({name: "int64" for name in IDS + ["TX_TIME_SECONDS", "TX_TIME_DAYS"]})
    table = pa.Table.from_pandas(base, preserve_index=False)
    with_column = lambda name, values: table.set_column(table.schema.get_field_index(name), name, values)
    count = len(base)
    for codec in ("lz4", "brotli"):
        pq.write_table(table, f"{folder}/{codec}.parquet", compression=codec)
    fastparquet.write(f"{folder}/fastparquet-lz4.parquet", base, compression="LZ4")
    exact = [decimal.Decimal(f"{amount:.2f}") for amount in base.TX_AMOUNT]
    base.assign(TX_AMOUNT=exact).to_parquet(f"{folder}/decimal-pandas.parquet", index=False)
    for digits, scale in ((8, 2), (18, 4)):
        amounts = with_column("TX_AMOUNT", pa.array(exact, pa.decimal128(digits, scale)))
        pq.write_table(amounts, f"{folder}/decimal-{digits}-{scale}.parquet", store_decimal_as_integer=True)
    pq.write_table(with_column("TX_AMOUNT", pa.array(exact, pa.decimal256(76, 38))), f"{folder}/decimal-256.parquet")
    ids = pa.array([decimal.Decimal(int(value)) for value in base.TERMINAL_ID], pa.decimal128(38, 0))
    pq.write_table(with_column("TERMINAL_ID", ids), f"{folder}/decimal-ids.parquet")
    duckdb.sql(f"""copy (select * replace (TX_AMOUNT::decimal(38, 2) as TX_AMOUNT), uuid() as U, {{'TX_AMOUNT': 1}} as S,
        [1, 2] as L, map {{'a': 1}} as M from base) to '{folder}/duckdb.parquet'""")
    duckdb.sql(f"""copy (select * replace (s as CUSTOMER_ID) from (select *, sum(CUSTOMER_ID) over
        (partition by TRANSACTION_ID) as s from base)) to '{folder}/duckdb-sum.parquet' (compression lz4_raw)""")
    polars.from_pandas(base).with_columns(
        polars.col("TX_AMOUNT").cast(polars.Decimal(12, 2)), polars.lit(0.5).cast(polars.Float16).alias("HALF"),
        polars.struct("TX_AMOUNT", "TX_FRAUD").alias("S")).write_parquet(f"{folder}/polars.parquet")
    pq.write_table(with_column("TX_FRAUD", pa.array(base.TX_FRAUD.astype("f2"))), f"{folder}/half-labels.parquet")
    names = [f" {name.title().replace('_', ' ')}" for name in table.column_names]
    pq.write_table(table.rename_columns(names), f"{folder}/names-of-people.parquet")
    with pq.ParquetWriter(f"{folder}/empty-groups.parquet", table.schema) as writer:
        for start, rows in ((0, 0), (0, 4), (0, 0), (4, 2)):
            writer.write_table(table.slice(start, rows))


def refused(folder):
    import fastparquet
    import joblib
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = frame().astype({name: "int64" for name in IDS + ["TX_TIME_SECONDS", "TX_TIME_DAYS"]})
    table = pa.Table.from_pandas(base, preserve_index=False)
    with_column = lambda name, values: table.set_column(table.schema.get_field_index(name), name, values)
    write = lambda name, table: pq.write_table(table, f"{folder}/{name}.parquet")
    write("list", with_column("TX_AMOUNT", pa.array([[amount] for amount in base.TX_AMOUNT])))
    write("struct", with_column("TX_AMOUNT", pa.array([{"value": amount} for amount in base.TX_AMOUNT])))
    write("half-amounts", with_column("TX_AMOUNT", pa.array(base.TX_AMOUNT.astype("f2"))))
    write("single-amounts", with_column("TX_AMOUNT", pa.array((base.TX_AMOUNT + 2e5).astype("f4"))))
    write("unsigned-ids", with_column("TRANSACTION_ID", pa.array(np.arange(6).astype("u8") + np.uint64(2**63))))
    write("float-ids", with_column("CUSTOMER_ID", pa.array(base.CUSTOMER_ID + 2.0**60)))
    write("refunds", with_column("TX_AMOUNT", pa.array(-base.TX_AMOUNT)))
    write("no-rows-pyarrow", table.slice(0, 0))
    fastparquet.write(f"{folder}/no-rows-fastparquet.parquet", base.head(0))
    pickled = lambda name, table, **options: table.to_pickle(f"{folder}/{name}.pkl", **options)
    pickled("protocol-0", base, protocol=0)
    pickled("protocol-1", base, protocol=1)
    pickled("categories", base.astype({"TERMINAL_ID": "category"}))
    pickled("periods", base.assign(TX_DATETIME=base.TX_DATETIME.dt.to_period("s")))
    pickled("series", base.TX_AMOUNT)
    pickled("index", base.set_index("TRANSACTION_ID"))
    # An index of evenly spaced numbers is in the footer alone.
    spaced = base.assign(TRANSACTION_ID=range(6)).set_index("TRANSACTION_ID")
    spaced.index = pd.RangeIndex(6, name="TRANSACTION_ID")
    spaced.to_parquet(f"{folder}/index.parquet")
    pl.from_pandas(base).with_columns(pl.col("CUSTOMER_ID").cast(pl.Int128)).write_parquet(f"{folder}/int128.parquet")
    joblib.dump(base, f"{folder}/joblib.pkl")
    joblib.dump(base, f"{folder}/joblib-zlib.pkl", compress=3)


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
    {"pandas": pandas_pickles, "parquet": parquet, "csv": csv, "hostile": hostile, "others": other_pickles, "tools": tools,
     "refused": refused}[what](folder)
