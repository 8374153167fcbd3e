"Package metadata, all of it from `settings.ini`."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

statuses = ['1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable', '6 - Mature',
            '7 - Inactive']
minor = int(cfg['min_python'].split('.')[1])


def lines(key):
    "The non-empty, non-comment lines of the setting `key`."
    return [o.strip() for o in cfg.get(key, '').splitlines() if o.strip() and not o.strip().startswith('#')]


def addresses():
    "The addresses of `settings.ini` as keywords of `setup`: an empty one leaves no field in the metadata."
    site = cfg['doc_host'] + cfg['doc_baseurl']
    links = {'Documentation': site} if site else None
    fields = dict(author_email=cfg['author_email'], url=cfg['git_url'], project_urls=links)
    return {key: value for key, value in fields.items() if value}


setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    **addresses(),
    license_expression=cfg['license'],
    license_files=['LICENSE'],
    keywords=cfg['keywords'].split(),
    classifiers=[
        f'Development Status :: {statuses[int(cfg["status"]) - 1]}',
        f'Intended Audience :: {cfg["audience"]}',
        f'Natural Language :: {cfg["language"]}',
        *[f'Programming Language :: Python :: 3.{o}' for o in range(minor, 14)]],
    packages=find_packages(include=[cfg['lib_name'], f'{cfg["lib_name"]}.*']),
    include_package_data=False,  # `package_data` alone, whatever else lies in the folders
    package_data={cfg['lib_name']: lines('package_data')},
    python_requires=f'>={cfg["min_python"]}',
    install_requires=lines('requirements'),
    extras_require={'dev': lines('dev_requirements')},
    entry_points={
        'console_scripts': lines('console_scripts'),
        'nbdev': [f'{cfg["lib_name"]}={cfg["lib_path"]}._modidx:d']},  # turns `names` in the docs into links
    zip_safe=False)
