"""MovieLens' 100,004 ratings (Harper and Konstan 2015), from R's package dslabs."""

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PLACES = (
    "dslabs/usr/lib/R/site-library/dslabs",  # of the command in NEEDED
    "/usr/lib/R/site-library/dslabs",
    "/usr/local/lib/R/site-library/dslabs",
)
NEEDED = "apt-get download r-cran-dslabs && dpkg -x r-cran-dslabs_*.deb dslabs"


@dataclass
class Ratings:
    """Who gave what to which film, and what the films are."""

    user: np.ndarray  # (N,), from 0 on
    movie: np.ndarray  # (N,), from 0 on
    rating: np.ndarray  # (N,), 0.5 to 5
    titles: list[str]  # of the films
    genres: np.ndarray  # (films, genres): of a film's k genres 1 / sqrt(k)
    years: np.ndarray  # (films, 1), in decades from the mean year

    def inputs(self, net, user, movie, rating=0.0):
        """Those inputs that `net` has; the ratings are to be without their mean."""
        known = {
            "user": user,
            "movie": movie,
            "genres": self.genres[movie],
            "year": self.years[movie],
            "rating": np.broadcast_to(rating, len(movie)),
        }
        return {name: known[name] for name in net.inputs}


def load(folder=None):
    """The ratings in an installed or unpacked package dslabs."""
    found = [Path(place) for place in ([folder] if folder else PLACES) if Path(place).is_dir()]
    if not found:
        raise SystemExit(f"R's package dslabs is missing: {NEEDED}")
    table = r_object(found[0] / "data" / "Rdata", "movielens")
    films = table.drop_duplicates("movieId")
    numbers = {movie: number for number, movie in enumerate(films["movieId"])}
    users = {user: number for number, user in enumerate(table["userId"].unique())}
    years = films["year"].astype(float).to_numpy()
    years = np.where(np.isnan(years), np.nanmean(years), years)
    return Ratings(
        user=np.array([users[user] for user in table["userId"]]),
        movie=np.array([numbers[movie] for movie in table["movieId"]]),
        rating=table["rating"].to_numpy(float),
        titles=[str(title) for title in films["title"]],
        genres=genre_table(films["genres"].astype(str)),
        years=(years - years.mean())[:, None] / 10,
    )


def genre_table(lists):
    """Of texts such as ``Comedy|Drama``."""
    lists = [text.split("|") for text in lists]
    names = sorted({name for names in lists for name in names})
    table = np.zeros((len(lists), len(names)))
    for row, of_film in zip(table, lists, strict=True):
        row[[names.index(name) for name in of_film]] = len(of_film) ** -0.5
    return table


def r_object(path, name):
    """An object of R's lazy-load database path.rdb, with its index path.rdx."""
    try:
        import rdata
    except ImportError:
        raise SystemExit("R's files are read by a package: pip install rdata") from None

    def read(data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has no name and so no ending
            return rdata.conversion.convert(rdata.parser.parse_data(data))

    start, count = (int(n) for n in read(path.with_suffix(".rdx").read_bytes())["variables"][name])
    record = path.with_suffix(".rdb").read_bytes()[start : start + count]
    data = zlib.decompress(record[4:])
    if len(data) != struct.unpack(">I", record[:4])[0]:
        raise SystemExit(f"{path}.rdb is damaged: {name} has {len(data)} bytes")
    return read(data)
