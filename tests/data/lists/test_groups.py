import itertools

import pytest

from keras_multigrid.data.lists.groups import find_groups


def files(classes, names):
    """Paths of every name in every class, and their classes."""
    paths = [f"{c}/{name.format(c=c, n=n)}" for c in classes for n, name in enumerate(names)]
    return paths, [path.split("/")[0] for path in paths]


CLEAR = {
    "Weizmann": (
        ["run", "walk", "wave1"],
        ["daria_{c}.avi", "denis_{c}.avi", "eli_{c}.avi"],
        ["daria", "denis", "eli"],
    ),
    "UCF101": (
        ["ApplyEyeMakeup", "Archery"],
        ["v_{c}_g01_c01.avi", "v_{c}_g01_c02.avi", "v_{c}_g02_c01.avi", "v_{c}_g03_c01.avi"],
        ["g01", "g01", "g02", "g03"],
    ),
    "KTH": (
        ["boxing", "jogging"],
        ["person01_{c}_d1_uncomp.avi", "person02_{c}_d1_uncomp.avi", "person03_{c}_d4_uncomp.avi"],
        ["person01", "person02", "person03"],
    ),
    "HMDB51": (
        ["brush_hair", "cartwheel"],
        [
            "April_09_{c}_u_nm_np1_ba_goo_0.avi",
            "April_09_{c}_u_nm_np1_ba_goo_1.avi",
            "Aussie_Girl_{c}_f_cm_np2_le_med_0.avi",
            "Aussie_Girl_{c}_f_cm_np2_le_med_1.avi",
            "20060723sfjffbartsinger_{c}_f_cm_np1_ba_med_0.avi",
        ],
        ["April_09", "April_09", "Aussie_Girl", "Aussie_Girl", "20060723sfjffbartsinger"],
    ),
    "NTU RGB+D": (
        ["drink", "eat"],
        [f"S001C00{c}P00{p}R001A001_rgb.avi" for p in (1, 2, 3) for c in (1, 2)],
        ["P001", "P001", "P002", "P002", "P003", "P003"],
    ),
    "class first": (
        ["run", "jump rope"],
        ["{c}_ida_01.mp4", "{c}_ida_02.mp4", "{c}_eli_01.mp4", "{c}_lena_01.mp4"],
        ["ida", "ida", "eli", "lena"],
    ),
    "names alone": (
        ["run", "walk"],
        ["ida-1.mp4", "eli-1.mp4", "lena-2.mp4"],
        ["ida", "eli", "lena"],
    ),
    "subjects": (
        ["run", "walk"],
        ["subj_1_take3.mp4", "subj_2_take1.mp4", "subj_3_take9.mp4"],
        ["subj1", "subj2", "subj3"],
    ),
}


@pytest.mark.parametrize("name", CLEAR)
def test_clear_patterns(name):
    classes, names, expected = CLEAR[name]
    found = find_groups(*files(classes, names))
    assert found is not None
    assert found.groups == tuple(expected) * len(classes)
    assert found.place


def test_folders_of_a_list_that_are_no_classes():
    paths = [f"{who}/{c}_{n}.mp4" for who in ("ida", "eli", "lena") for c in "rw" for n in (1, 2)]
    found = find_groups(paths, ["run", "run", "walk", "walk"] * 3)
    assert found.groups == ("ida",) * 4 + ("eli",) * 4 + ("lena",) * 4
    assert found.place == "the folder"


UNCLEAR = {
    "iPhone": ["IMG_{n}234.mp4", "IMG_{n}235.MOV", "IMG_{n}236.mp4", "IMG_{n}237.mp4"],
    "Android": ["VID_20230101_12000{n}.mp4", "VID_20230101_13000{n}.mp4", "VID_20230102_1.mp4"],
    "Pixel": ["PXL_20230101_120000123.mp4", "PXL_20230101_130000123.mp4", "PXL_2023_1.TS.mp4"],
    "WhatsApp": ["VID-20230101-WA000{n}.mp4", "VID-20230101-WA000{n}1.mp4", "VID-20230102-WA1.mp4"],
    "numbers": ["001.mp4", "002.mp4", "003.mp4", "004.mp4"],
    "class and number": ["{c}_1.mp4", "{c}_2.mp4", "{c}_3.mp4"],
    "number and class": ["01_{c}.mp4", "02_{c}.mp4", "03_{c}.mp4"],
    "clips": ["clip01_{c}.mp4", "clip02_{c}.mp4", "clip03_{c}.mp4"],
    "takes": ["{c}_take1.mp4", "{c}_take2.mp4", "{c}_take3.mp4"],
    "sides": ["{c}_left.mp4", "{c}_right.mp4", "{c}_front.mp4"],
    "one actor": ["ida_{c}_1.mp4", "ida_{c}_2.mp4", "ida_{c}_3.mp4"],
    "two words": ["ida_park_1.mp4", "eli_home_1.mp4", "lena_park_1.mp4"],
    "two": ["ida_{c}.mp4", "eli_{c}.mp4"],
    "UUIDs": [
        "3f2b8c1e-9d4a-4f7e-8a21-0c5d6e7f8a9b.mp4",
        "a91c4d2e-1b3f-4c5d-9e8f-7a6b5c4d3e2f.mp4",
        "deadbeef-cafe-4bad-abad-feedfacebeef.mp4",
    ],
    "only some": ["ida_{c}.mp4", "eli_{c}.mp4", "lena_{c}.mp4", "IMG_0001.mp4"],
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_may_as_well_count_is_no_pattern(name):
    assert find_groups(*files(["run", "walk"], UNCLEAR[name])) is None


def test_groups_of_a_single_class_cannot_be_split():
    # Whoever runs never walks, and each class has one group.
    paths = ["run/ida_run.mp4", "run/ida_run2.mp4", "walk/eli_walk.mp4", "walk/eli_walk2.mp4"]
    paths += ["jump/ino_jump.mp4", "jump/ino_jump2.mp4"]
    assert find_groups(paths, [path.split("/")[0] for path in paths]) is None


def test_names_that_are_each_ones_own():
    names = ["".join(letters) for letters in itertools.permutations("abcd")]
    paths = [f"{'run' if n % 2 else 'walk'}/{name}_x.mp4" for n, name in enumerate(names)]
    assert find_groups(paths, [path.split("/")[0] for path in paths]) is None
