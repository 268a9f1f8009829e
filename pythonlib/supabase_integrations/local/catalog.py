"""What the database's catalogs say about who may do what, and how that differs from what the migrations made."""

from dataclasses import dataclass

import psycopg

from .scripts import read_script

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Each object's facts: grants, owner, row security, policies, triggers."""

    facts: frozenset[tuple[str, str]]

    def differences(self, pristine: "Snapshot") -> list[str]:
        """How this database differs from `pristine` in the objects that `pristine` has, as sentences."""
        objects = {name for name, _ in pristine.facts}
        mine = {fact for fact in self.facts if fact[0] in objects}
        present = {name for name, _ in mine}
        gone = [f"{name} is missing" for name in sorted(objects - present)]
        extra = [f"{name}: {fact}" for name, fact in sorted(mine - pristine.facts)]
        lost = [f"{name}: no longer: {fact}" for name, fact in sorted(pristine.facts - mine) if name in present]
        return gone + extra + lost


@dataclass(frozen=True, slots=True)
class ExposedTable:
    """A table or view of `public`, and the columns that a signed-in user may ask for."""

    name: str
    readable_columns: tuple[str, ...]


async def take_snapshot(connection: Connection) -> Snapshot:
    """Read the catalogs. Names come fully qualified, whatever the connection's search path."""
    await connection.execute("set search_path to ''")
    cursor = await connection.execute(read_script("catalog"))
    return Snapshot(frozenset((str(name), str(fact)) for name, fact in await cursor.fetchall()))


async def exposed_tables(connection: Connection) -> list[ExposedTable]:
    """Every table and view that the Data API serves."""
    cursor = await connection.execute(
        """
        select c.relname, coalesce(array_agg(a.attname::text order by a.attnum)
            filter (where has_column_privilege('authenticated', c.oid, a.attnum, 'select')), '{}')
        from pg_catalog.pg_class c
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
        group by c.relname
        order by c.relname
        """
    )
    return [
        ExposedTable(str(name), tuple(columns) if isinstance(columns, list) else ())
        for name, columns in await cursor.fetchall()
    ]


async def overpowered_roles(connection: Connection) -> list[str]:
    """What the API roles must not be or belong to, whatever the migrations say: it would undo every grant."""
    cursor = await connection.execute(
        """
        select format('role %s: %s', rolname, array_to_string(array_remove(array[
            case when rolsuper then 'is a superuser' end,
            case when rolbypassrls and rolname <> 'service_role' then 'bypasses row security' end,
            case when rolcreaterole then 'may create roles' end,
            (select 'belongs to ' || string_agg(m.roleid::regrole::text, ', ')
             from pg_catalog.pg_auth_members m where m.member = r.oid)
        ], null), ', '))
        from pg_catalog.pg_roles r
        where rolname in ('anon', 'authenticated', 'service_role')
            and (rolsuper or rolcreaterole or (rolbypassrls and rolname <> 'service_role')
                or exists (select from pg_catalog.pg_auth_members m where m.member = r.oid))
        order by rolname
        """
    )
    return [str(row[0]) for row in await cursor.fetchall()]
