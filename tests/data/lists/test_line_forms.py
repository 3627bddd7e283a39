import pytest

from keras_multigrid.data.lists.line_forms import LineForms


def forms(*there, classes=(), **settings):
    """Reads lines where `there` are the files and folders, and labels are numbers or `classes`."""
    return LineForms(
        is_label=lambda text: text.isdecimal() or text in classes,
        why_no_label=lambda text: f"no label: {text}",
        is_there=lambda path: path in there,
        **settings,
    )


def read(line, *there, **settings):
    entry = forms(*there, **settings).read(line)
    labels = entry.labels[0] if len(entry.labels) == 1 else list(entry.labels)
    return (entry.path, labels) if entry.span is None else (entry.path, *entry.span, labels)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("a.mp4 7", ("a.mp4", "7")),
        ("a.mp4\t7", ("a.mp4", "7")),
        ("eli run 2.avi 7", ("eli run 2.avi", "7")),
        ("a,b.mp4 7", ("a,b.mp4", "7")),
        ("a.mp4,7", ("a.mp4", "7")),
        ("a.mp4, 7", ("a.mp4", "7")),
        ("a.mp4 ,7", ("a.mp4", "7")),
        ("eli run 2.avi,7", ("eli run 2.avi", "7")),
        ("a,b.mp4,7", ("a,b.mp4", "7")),
        ('"a.mp4" 7', ("a.mp4", "7")),
        ("'a b.mp4' 7", ("a b.mp4", "7")),
        ('"a, b.mp4",7', ("a, b.mp4", "7")),
        ('"the ""a"".mp4", 7', ('the "a".mp4', "7")),
        ('"a 120" 7', ("a 120", "7")),
        ('"a.mp4" 120 7', ("a.mp4", "7")),
        ('"a.mp4","7"', ("a.mp4", "7")),
        ("a.mp4 120 7", ("a.mp4", "7")),
        ("a.MP4 120 7", ("a.MP4", "7")),
        ("a.mp4,120,7", ("a.mp4", "7")),
        ("a.mp4,12.5,20,7", ("a.mp4", "12.5", "20", "7")),
        ("a.mp4, 12.5, 20, 7", ("a.mp4", "12.5", "20", "7")),
        ("a.mp4 0 48 7", ("a.mp4", "0", "48", "7")),
        ("frames/v_001 7", ("frames/v_001", "7")),
    ],
)
def test_plain_lines_are_read_without_the_disk(line, meaning):
    assert read(line) == meaning


def test_class_names_may_hold_spaces_behind_a_comma():
    assert read("a.mp4,ride a bike", classes=("ride a bike",)) == ("a.mp4", "ride a bike")
    assert read('"a.mp4" ride a bike', classes=("ride a bike",)) == ("a.mp4", "ride a bike")
    assert read("my walk run", classes=("walk", "run")) == ("my walk", "run")


def test_the_disk_tells_the_meaning_of_lines_with_two():
    assert read("eli 120 7", "eli") == ("eli", "7")
    assert read("eli 120 7", "eli 120") == ("eli 120", "7")
    for there in ((), ("eli", "eli 120")):
        with pytest.raises(ValueError) as error:
            read("eli 120 7", *there)
        assert str(error.value) == (
            "it can be read as `path label` of the video 'eli 120' or `path frames label` of the "
            "video 'eli', and the disk does not tell which: put the path in quotes, or correct "
            "`root`"
        )


def test_lines_behind_are_read_as_the_first_of_their_kind():
    asked = []
    lines = LineForms(
        is_label=str.isdecimal,
        why_no_label=str,
        is_there=lambda path: asked.append(path) or path == "eli",
    )
    assert lines.read("eli 120 7").form == "path frames label"
    assert lines.read("ida 99 3") == ("ida", ["3"], None, "path frames label")
    assert asked == ["eli 120", "eli"]
    assert lines.forms == {"path frames label"}


def test_the_disk_is_not_asked_for_ever():
    asked = []
    lines = LineForms(
        is_label=str.isdecimal, why_no_label=str, is_there=lambda path: asked.append(path)
    )
    for number in range(100):
        with pytest.raises(ValueError, match="can be read as"):
            lines.read(f"v{number} 120 7")
    assert len(asked) == 40


def test_several_labels():
    several = {"several_labels": True}
    assert read("a.mp4 7", **several) == ("a.mp4", "7")
    assert read("a.mp4 7 3", **several) == ("a.mp4", ["7", "3"])
    assert read("a.mp4 7,3", **several) == ("a.mp4", ["7", "3"])
    assert read("a.mp4,7,3", **several) == ("a.mp4", ["7", "3"])
    assert read('"a.mp4" "7,3"', **several) == ("a.mp4", ["7", "3"])
    assert read("eli 7 3", "eli", **several) == ("eli", ["7", "3"])
    assert read("a.mp4 run walk", classes=("run", "walk"), **several) == ("a.mp4", ["run", "walk"])
    assert read("a.mp4 1.5 3 7", has_spans=True, **several) == ("a.mp4", "1.5", "3", "7")
    for line in ("a.mp4 7,3", "a.mp4 3 1 0", "a.mp4 0 3", "a.mp4 1 2 3 4"):
        with pytest.raises(ValueError, match="set multi_label=True"):
            read(line)


@pytest.mark.parametrize(
    ("header", "line", "meaning"),
    [
        ("path,label", "a.mp4,7", ("a.mp4", "7")),
        ("Label,Video", "7,a b.mp4", ("a b.mp4", "7")),
        (",filename,class", '0,"a, b.mp4",7', ("a, b.mp4", "7")),
        ("video,t_start,t_end,label", "a.mp4,1,2,7", ("a.mp4", "1", "2", "7")),
        ("path,num_frames,label", "a,120,7", ("a", "7")),
        ("path label", "a.mp4 7", ("a.mp4", "7")),
    ],
)
def test_a_first_line_names_the_columns(header, line, meaning):
    lines = forms()
    assert lines.begin(header)
    entry = lines.read(line)
    span = () if entry.span is None else entry.span
    assert (entry.path, *span, *entry.labels) == meaning


@pytest.mark.parametrize("line", ["a.mp4 7", "path,7", "path,name,label", "a,b", '"path,label'])
def test_other_first_lines_name_none(line):
    assert not forms().begin(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.mp4,7", "expected 4 fields, found 2"),
        ("a.mp4,1,1,7", "an end that lies behind it"),
        ("a.mp4,one,2,7", "an end that lies behind it"),
        ("a.mp4,1,2,walk", "no label: walk"),
        (",1,2,7", "it needs a path"),
        ('"a.mp4,1,2,7', "its quotes are wrong"),
    ],
)
def test_bad_lines_below_named_columns(line, reason):
    lines = forms()
    assert lines.begin("path,start,end,label")
    with pytest.raises(ValueError, match=reason):
        lines.read(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.mp4", "it must be a path, a space or comma, and a label"),
        ("a.mp4,1.5,1.0,7", "with an end that lies behind the start"),
        ("a.mp4 walk", "no label: walk"),
        ("a.mp4 -1", "no label: -1"),
        ('"a.mp4 7', "can be read as"),
        ('"" 7', "can be read as"),
        (", 7", "it needs a path"),
    ],
)
def test_lines_without_a_meaning(line, reason):
    with pytest.raises(ValueError, match=reason):
        read(line)


def test_lines_that_must_have_a_start_and_an_end():
    assert read("a.mp4 10 20 7", has_spans=True) == ("a.mp4", "10", "20", "7")
    assert read("a.mp4,10,20,7", has_spans=True) == ("a.mp4", "10", "20", "7")
    for line in ("a.mp4 7", "a.mp4 20 10 7", "a.mp4 10 7", "a.mp4 10 inf 7"):
        with pytest.raises(ValueError, match="must be `path,start,end,label`"):
            read(line, has_spans=True)


def test_a_path_may_begin_with_a_hash_if_it_is_there():
    lines = forms("#7.mp4")
    assert not lines.is_comment("#7.mp4 0")
    assert lines.is_comment("#8.mp4 0")
    assert lines.is_comment("# 12 videos")


def test_a_start_alone_names_no_part():
    lines = forms()
    assert lines.begin("video,start_time,label")
    with pytest.raises(ValueError, match="both its start and its end"):
        lines.read("a.mp4,1,7")
