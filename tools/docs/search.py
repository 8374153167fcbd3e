"""The index that site.js searches: the prose of every section, in a script, which works from a disk, too."""
import html, json, re

HEADING = re.compile(r'<h([1-4])(?: class="[^"]*")?(?: id="([^"]*)")?[^>]*>(.*?)</h\1>', flags=re.S)
SKIPPED = re.compile(r'<(pre|annotation|summary|nav|footer|script)\b.*?</\1>', flags=re.S)


def words(page):
    "What a reader of this piece of HTML reads, on one line."
    plain = re.sub(r'<[^>]+>', ' ', SKIPPED.sub(' ', page))
    plain = re.sub(r'\s+', ' ', html.unescape(plain))
    return re.sub(r' (?=[,.;:)])', '', plain).strip()


def sections(page):
    "The sections of a page as [heading, anchor, prose]; the first is the page's title."
    main = re.search(r'<main>(.*)</main>', page, flags=re.S)
    parts = HEADING.split(main[1] if main else page)
    rows = zip(parts[2::4], parts[3::4], parts[4::4])
    return [[words(heading), anchor or '', words(body)] for anchor, heading, body in rows]


def search_index(pages):
    "A script that gives `searchIndex`: an address and the sections for each of the `pages`."
    rows = [[dst.as_posix(), sections(page)] for dst, page in pages.items()]
    return 'const searchIndex = ' + json.dumps(rows, ensure_ascii=False, separators=(',', ':')) + ';\n'
