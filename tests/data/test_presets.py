"""Public data sets by name: small invented files of the published shapes, prepared and measured."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import Workbook

from gloss.config import AmazonData, PresetData, PresetName
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError, InputError
from gloss.experiment import stages
from gloss.experiment.loading import checked
from preparing import Bought, bought, users_measured, write

Folder = Callable[[Path], None]


def text(name: str, content: str, encoding: str = "utf-8") -> Folder:
    def put(folder: Path) -> None:
        data = content.encode(encoding)
        write(folder / name, gzip.compress(data) if name.endswith(".gz") else data)

    return put


MOVIELENS_100K = (
    text("u.data", "1\t7\t3\t881250949\n1\t8\t4\t881250950\n1\t9\t5\t881250940\n2\t7\t1\t5\n"),
    text(
        "u.item",
        '7|Café "Noir" (1995)|01-Jan-1995||http://x|0|1\n8|Blue (1993)|||||\n9|Red (1994)|||||\n',
        "latin-1",
    ),
)
MOVIELENS_1M = (
    text("ratings.dat", "1::7::3::978300760\n1::8::4::978300761\n1::9::5::978300750\n"),
    text("movies.dat", "7::Café: Noir (1995)::Drama\n8::Blue::Drama\n9::Red::Drama\n", "latin-1"),
)
MOVIELENS_25M = (
    text(
        "ratings.csv",
        "userId,movieId,rating,timestamp\n1,7,3.5,1147880044\n1,8,3.5,1147880045\n1,9,5,1147880040\n",
    ),
    text("movies.csv", 'movieId,title,genres\n7,"Noir, the (1995)",Drama|War\n8,Blue,\n9,Red,\n'),
)
RECBOLE = (
    text(
        "shop.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1\t7\t5\t3.0\n1\t8\t5\t4.0\n1\t9\t5\t1.0\n",
    ),
    text(
        "shop.item",
        'item_id:token\tmovie_title:token_seq\tclass:token_seq\n7\tRed "one\tA\n8\tB\tA\n9\tC\tA\n',
    ),
)
MIND = (
    text(
        "behaviors.tsv",
        "1\tU1\t11/11/2019 9:05:58 AM\tN7 N8\tN9-1 N7-0\n"
        "2\tU1\t11/11/2019 1:05:58 PM\tN7 N8\tN8-0 N7-1\n"
        "3\tU2\t11/12/2019 6:00:00 AM\t\tN8-1\n",
    ),
    text(
        "news.tsv",
        'N7\tnews\tus\t"Red" wins\tText\thttp://x\t[]\t[]\n'
        'N8\tnews\tus\tMonitor 27"\tText\thttp://x\t[]\t[]\nN9\tnews\tus\tBlue\t\thttp://x\t[]\t[]\n',
    ),
)
STEAM = (
    text(
        "steam_reviews.json.gz",
        "{u'username': u'1', u'product_id': u'7', u'date': u'2017-12-17', u'text': u'it\\'s'}\n"
        "{u'username': u'1', u'product_id': u'8', u'date': u'2018-01-01'}\n"
        "{u'username': u'1', u'product_id': u'9', u'date': u'2017-11-01'}\n",
    ),
    text(
        "steam_games.json.gz",
        "{u'id': u'7', u'app_name': u'Red', u'price': 4.99}\n{u'id': u'8', u'app_name': u'Blue'}\n"
        "{u'id': u'9', u'app_name': u'Green', u'tags': [u'Indie']}\n{u'app_name': u'no id'}\n",
    ),
)
YELP = (
    text(
        "yelp_academic_dataset_review.json",
        '{"user_id": "1", "business_id": "7", "date": "2014-02-05 20:30:30"}\n'
        '{"user_id": "1", "business_id": "8", "date": "2014-02-06 20:30:30"}\n'
        '{"user_id": "1", "business_id": "9", "date": "2014-02-04 20:30:30"}\n',
    ),
    text(
        "yelp_academic_dataset_business.json",
        '{"business_id": "7", "name": "Bar", "city": "Graz", "categories": "Bars, Food"}\n'
        '{"business_id": "8", "name": "Pub", "city": "Graz", "categories": null}\n'
        '{"business_id": "9", "name": "Inn", "city": "Linz", "categories": "Food"}\n'
        '{"business_id": "10", "name": "Nobody\'s", "city": "Linz", "categories": ""}\n',
    ),
)
RETAILROCKET = (
    text(
        "events.csv",
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,1,transaction,7,4000\n1433221332119,1,transaction,8,4000\n"
        "1433221332110,1,transaction,9,4001\n1433221332111,1,view,8,\n",
    ),
    text(
        "item_properties_part1.csv",
        "timestamp,itemid,property,value\n1435460400000,7,categoryid,1338\n"
        "1435460400000,7,888,1116713 960601\n1435460400001,7,888,77 88\n",
    ),
    text(
        "item_properties_part2.csv",
        "timestamp,itemid,property,value\n1435460400000,8,categoryid,12\n"
        "1435460400000,8,available,1\n1435460400000,9,888,5 6\n",
    ),
)
HM = (
    text(
        "transactions_train.csv",
        "t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,1,0000000007,0.05,2\n"
        "2018-09-21,1,0000000008,0.05,2\n2018-09-19,1,0000000009,0.05,2\n",
    ),
    text(
        "articles.csv",
        "article_id,product_code,prod_name\n0000000007,7,Strap top\n0000000008,8,Jade\n"
        "0000000009,9,Jade denim\n",
    ),
)
INSTACART = (
    text(
        "orders.csv",
        "order_id,user_id,eval_set,order_number,order_dow\n20,1,prior,1,2\n10,1,prior,2,2\n"
        "30,1,train,10,2\n",
    ),
    text(
        "order_products__prior.csv",
        "order_id,product_id,add_to_cart_order,reordered\n10,7,1,0\n20,9,1,0\n10,8,2,0\n",
    ),
    text(
        "order_products__train.csv",
        "order_id,product_id,add_to_cart_order,reordered\n30,9,1,1\n",
    ),
    text("products.csv", 'product_id,product_name,aisle_id\n7,"Salt ""A""",1\n8,Tea,1\n9,Rice,1\n'),
)
ONLINE_RETAIL_HEAD = (
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
)
ONLINE_RETAIL = (
    text(
        "OnlineRetail.csv",
        ONLINE_RETAIL_HEAD + "5,7,RED KITE,6,12/1/2010 8:26,2.55,1,UK\n"
        "5,8,BLUE KITE,6,12/13/2010 8:26,2.55,1,UK\n5,9,GREEN KITE,6,11/30/2010 8:26,2.55,1,UK\n"
        "C5,9,GREEN KITE,-6,12/14/2010 8:26,2.55,1,UK\n6,9,GREEN KITE,1,12/14/2010 8:26,2.55,,UK\n",
    ),
)
LASTFM = (
    text(
        "userid-timestamp-artid-artname-traid-traname.tsv",
        '1\t2009-05-04T23:08:57Z\t\tRed\t\tSong\n1\t2009-05-05T13:54:10Z\t\tBlue "x\t\tSong\n'
        '1\t2009-05-05T13:58:10Z\t\tBlue "x\t\tOther\n1\t2009-05-01T13:54:10Z\t\tGreen\t\tSong\n',
    ),
)
LASTFM_2K = (
    text(
        "user_taggedartists-timestamps.dat",
        "userID\tartistID\ttagID\ttimestamp\n1\t7\t13\t1238536800000\n1\t7\t15\t1238536800000\n"
        "1\t8\t15\t1238536900000\n1\t9\t15\t1238536700000\n",
    ),
    text("artists.dat", "id\tname\turl\tpictureURL\n7\tRed\tu\tp\n8\tBlue\tu\tp\n9\tGreen\tu\tp\n"),
)


def workbook(folder: Path) -> None:
    from datetime import datetime

    book = Workbook()
    for sheet, days in ((book.active, (3, 4)), (book.create_sheet("2011"), (1,))):
        sheet.append(
            ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Customer ID"]
        )
        for day in days:
            item = {3: 7, 4: 8, 1: 9}[day]
            sheet.append([5, item, f"Thing {item}", 1, datetime(2010, 12, day), 1])
        sheet.append([5, 7, "Thing 7", 1, datetime(2010, 12, 9), None])
    book.save(folder / "online_retail_II.xlsx")


IN_ORDER = {"1": ("9", "7", "8")}

SETS: list[tuple[PresetName, tuple[Folder, ...], Bought, str]] = [
    ("movielens-100k", MOVIELENS_100K, IN_ORDER | {"2": ("7",)}, 'Café "Noir" (1995)'),
    ("movielens-1m", MOVIELENS_1M, IN_ORDER, "Café: Noir (1995)"),
    ("movielens-25m", MOVIELENS_25M, IN_ORDER, "Noir, the (1995)"),
    ("recbole", RECBOLE, IN_ORDER, 'Red "one'),
    ("mind", MIND, {"U1": ("N7", "N8", "N9", "N7"), "U2": ("N8",)}, '"Red" wins'),
    ("steam", STEAM, IN_ORDER, "Red"),
    ("yelp", YELP, IN_ORDER, "Bar"),
    ("retailrocket", RETAILROCKET, IN_ORDER, "category 1338: 77 88"),
    ("hm", HM, IN_ORDER, "Strap top"),
    ("instacart", INSTACART, {"1": ("9", "7", "8", "9")}, 'Salt "A"'),
    ("online-retail", ONLINE_RETAIL, IN_ORDER, "RED KITE"),
    ("online-retail", (workbook,), IN_ORDER, "Thing 7"),
    ("lastfm", LASTFM, {"1": ("Green", "Red", 'Blue "x')}, "Red"),
    ("lastfm", LASTFM_2K, IN_ORDER, "Red"),
]


@pytest.mark.parametrize(("name", "files", "expected", "title"), SETS)
def test_a_public_data_set_is_read_by_its_name_and_measured(
    tmp_path: Path, name: PresetName, files: tuple[Folder, ...], expected: Bought, title: str
) -> None:
    for put in files:
        put(tmp_path)
    allowed = 1 if name == "steam" else 0
    settings = PresetData(source="preset", preset=name, folder=tmp_path, max_bad_lines=allowed)
    data = Dataset.load(stages.prepare(settings, tmp_path / "out").path)
    assert bought(data) == expected
    assert title in [item.title for item in data.catalogue("fair")]
    assert data.name == name
    assert users_measured(data.path, tmp_path) == sum(
        len(items) >= 3 for items in expected.values()
    )


AMAZON_2018 = (
    text(
        "Gift_Cards_5.json.gz",
        '{"reviewerID": "1", "asin": "7", "unixReviewTime": 1425600000, "verified": true}\n'
        '{"reviewerID": "1", "asin": "8", "unixReviewTime": 1425700000, "verified": true}\n'
        '{"reviewerID": "1", "asin": "9", "unixReviewTime": 1425500000, "verified": true}\n',
    ),
    text(
        "meta_Gift_Cards.json.gz",
        '{"asin": "7", "title": "Card <span>A</span>", "category": ["Gift", "Cards"]}\n'
        '{"asin": "8", "title": "Card B"}\n{"asin": "9", "title": "Card C"}\n'
        '{"asin": "10", "title": "Nobody\'s"}\n',
    ),
)
AMAZON_2023 = (
    text(
        "Gift_Cards.jsonl",
        '{"user_id": "1", "asin": "x", "parent_asin": "7", "timestamp": 1588687728923}\n'
        '{"user_id": "1", "asin": "y", "parent_asin": "8", "timestamp": 1588687728924}\n'
        '{"user_id": "1", "asin": "z", "parent_asin": "9", "timestamp": 1588687728922}\n',
    ),
    text(
        "meta_Gift_Cards.jsonl",
        '{"parent_asin": "7", "title": "Card A", "price": null}\n'
        '{"parent_asin": "8", "title": "Card B"}\n{"parent_asin": "9", "title": "Card C"}\n',
    ),
)


@pytest.mark.parametrize(("edition", "files"), [("2018", AMAZON_2018), ("2023", AMAZON_2023)])
def test_later_editions_of_the_amazon_reviews(
    tmp_path: Path, edition: str, files: tuple[Folder, ...]
) -> None:
    for put in files:
        put(tmp_path)
    settings = checked(
        AmazonData, source="amazon", category="Gift_Cards", edition=edition, folder=tmp_path
    )
    data = Dataset.load(stages.prepare(settings, tmp_path / "out").path)
    assert bought(data) == IN_ORDER
    assert [item.title for item in data.catalogue("fair")] == ["Card A", "Card B", "Card C"]


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    settings = PresetData(source="preset", preset="hm", folder=tmp_path)
    with pytest.raises(InputError, match=r"hm: transactions_train\.csv and articles\.csv"):
        stages.prepare(settings, tmp_path / "out")
    with pytest.raises(InputError, match="is not a folder"):
        stages.prepare(settings.model_copy(update={"folder": tmp_path / "no"}), tmp_path / "out")


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'movielens-1m'"):
        checked(PresetData, source="preset", preset="movielens", folder="x")


def test_a_changed_original_is_noticed(tmp_path: Path) -> None:
    for put in INSTACART:
        put(tmp_path)
    settings = PresetData(source="preset", preset="instacart", folder=tmp_path)
    first = stages.prepare(settings, tmp_path / "out")
    assert stages.prepare(settings, tmp_path / "out").fingerprint == first.fingerprint
    write(tmp_path / "orders.csv", (tmp_path / "orders.csv").read_text().replace("30,1,", "30,2,"))
    second = Dataset.load(stages.prepare(settings, tmp_path / "out").path)
    assert bought(second) == {"1": ("9", "7", "8"), "2": ("9",)}
