#!/usr/bin/env python3
"""Check that no file names a repository, a site, a user or a mail address that the project does not own.

    tools/check_addresses.py [FILE ...]     default: every file that git tracks or would track

A stranger who followed such an address would install or read whatever somebody else puts there. Accepted
are the cited sources and documentation in `ACCEPTED`, and what settings.ini names as the project's own. Text
files are read by line, notebooks by cell, sources and outputs (not pictures). Nor may anything install the
package by its bare name from an index, where somebody else could claim it."""
import json, re, subprocess, sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = {  # how an address may begin, and why
    'arxiv.org': 'papers',
    'doi.org': 'papers',
    'www.apache.org/licenses': 'the licence',
    'docs.fast.ai': 'documentation of fastai; nbdev links its names',
    'numba.pydata.org': 'documentation of Numba',
    'pythonot.github.io': 'documentation of POT',
    'triton-lang.org': 'documentation of Triton',
    'pypi.org/project/pyautoattack': 'the package that runs AutoAttack',
    'github.com/fra31/auto-attack': "AutoAttack's own code, cited",
    'github.com/yaodongyu/TRADES': 'where a checkpoint of the manifests comes from',
    'github.com/csdongxian/AWP': 'the same',
    'github.com/tokaka22/AWP': 'the same',
    'github.com/cardistryj/weights-robustify': 'the same',
    'github.com/jiaxiaojunQAQ/LAS-AT': 'the same',
    'www.cs.toronto.edu': 'where CIFAR comes from',
    'cs231n.stanford.edu': 'where Tiny ImageNet comes from',
    'git-lfs': 'the first line of a Git LFS pointer, as written and cut short',
    'git-lfs.github.com/spec': 'the same',
    '127.0.0.1': 'this machine',
    'example.org': 'reserved for examples'}
END = r'[^\s"\'`<>()\[\]\\,;]*'
NO_REPLY = rf'[\w.+-]*no-?reply{END}'
MAILBOX = r'(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|io|ai|dev)\b'
KINDS = {
    'address': re.compile(rf'https?://({END})'),
    'site': re.compile(r'(?<![\w./@-])([\w.%()-]*github\.io)\b'),
    'repository': re.compile(rf'(?<![\w./@-])((?:github|gitlab|bitbucket)\.(?:com|org)[/:]{END})'),
    'source of pip': re.compile(rf'\b(git\+{END})'),
    'mail address': re.compile(f'({NO_REPLY}|{MAILBOX})')}
INSTALL = re.compile(r'\b(?:pip3?|pipx|uv|conda|mamba|poetry) (?:install|add)\b([^\n&;|]*)')
BARE_NAME = re.compile(r'["\'`(]*beckman[-_.]nb(?:\[[^\]]*\])?(?:[=<>~!].*)?["\'`).,:]*', re.I)


def own(settings=ROOT/'settings.ini'):
    "The addresses that settings.ini names as the project's own, without their protocol."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(settings, encoding='utf-8')
    fields = [cfg['DEFAULT'].get(key, '') for key in ('git_url', 'doc_host', 'author_email')]
    return [o.split('://')[-1] for o in fields if o]


def accepted(address, known):
    "Whether the address is one in `known`, or lies below one."
    return any(re.match(rf'{re.escape(o)}(?![\w.@-])', address.rstrip('.')) for o in known)


def find(text, known):
    "What in `text` names a place that is not in `known`, as (position, what)."
    for kind, pattern in KINDS.items():
        for m in pattern.finditer(text):
            if not accepted(m[1], known): yield m.start(), f'{kind}: {m[0]}'
    for m in INSTALL.finditer(text):
        if any(BARE_NAME.fullmatch(o) for o in m[1].split()):
            yield m.start(), f'installs a bare name: {m[0].strip()}'


def joined(o):
    "Text as notebooks store it, a string or a list of lines; data of another form as JSON."
    if isinstance(o, list): return ''.join(map(str, o))
    return o if isinstance(o, str) else json.dumps(o)


def parts(path):
    "The texts of a file as (a function from a position to its place, text); none for a binary file."
    try: text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError: return
    if path.suffix != '.ipynb':
        yield (lambda pos: f'line {text.count(chr(10), 0, pos) + 1}'), text
        return
    for i, cell in enumerate(json.loads(text)['cells']):
        yield (lambda pos, i=i: f'cell {i}'), joined(cell['source'])
        for o in cell.get('outputs', []):
            data = [v for k, v in o.get('data', {}).items() if not k.startswith('image/')]
            for shown in (o.get('text', ''), *data, o.get('traceback', '')):
                yield (lambda pos, i=i: f'output of cell {i}'), joined(shown)


def check_file(path, known):
    "Every foreign place in the file, as (where, what)."
    for place, text in parts(path):
        for pos, problem in find(text, known): yield place(pos), problem


def tracked():
    "Every file that git tracks or would track."
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT/o for o in listed.split('\0') if o]
    return [p for p in files if p.is_file() and not p.is_symlink()]


def main():
    "Check what the command line names; the exit code says whether there is a foreign address."
    files = [Path(o) for o in sys.argv[1:]] or tracked()
    if not files: sys.exit('no file to check')
    known = [*ACCEPTED, *own()]
    bad = 0
    for path in files:
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        for where, problem in check_file(path, known):
            bad += 1
            print(f'{name}, {where}: {problem}')
    print(f'{len(files)} files checked, {bad} foreign addresses')
    sys.exit(bool(bad))


if __name__ == '__main__': main()
