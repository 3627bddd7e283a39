import pytest

from keras_multigrid.data.videos.frame_names import frame_names
from keras_multigrid.data.videos.open_video import DecodeError


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg", "10.jpg"],
        ["img_00009.jpg", "img_00010.jpg", "img_100000.jpg"],
        ["frame1.webp", "frame2.png", "frame3.JPG"],
        ["-2.png", "-1.png", "0.png", "1.png"],
        ["img_-10.png", "img_-9.png", "img_0.png", "img_1.png"],
        ["img-1.png", "img0.png", "img1.png"],
        # Here the minus only parts name and number.
        ["run-1.jpg", "run-2.jpg", "run-10.jpg"],
        ["2023-01-02_1.jpg", "2023-01-02_2.jpg"],
        ["shot1.0009.jpg", "shot1.0010.jpg"],
        # Seconds.
        ["1305031102.175304.png", "1305031102.211214.png", "1305031103.010000.png"],
        ["-0.5.png", "0.5.png", "1.0.png"],
        ["0.0.jpg", "0.25.jpg", "0.5.jpg", "0.75.jpg", "1.0.jpg", "1.25.jpg"],
        ["0.125.jpg", "0.25.jpg", "0.5.jpg"],
        ["-0.5.jpg", "-0.25.jpg", "0.0.jpg", "0.25.jpg"],
        # Here digits count.
        ["1.8.jpg", "1.9.jpg", "1.10.jpg"],
        ["1a.jpg", "1b.jpg", "2a.jpg"],
        ["cover.jpg"],
        [],
    ],
)
def test_frames_come_in_the_order_of_their_last_number(names):
    assert frame_names(names[::-1], "walk") == names
    assert frame_names(sorted(names), "walk") == names


@pytest.mark.parametrize(
    ("names", "received"),
    [
        (
            ["flow_x_1.jpg", "flow_x_2.jpg", "flow_y_1.jpg", "flow_y_2.jpg", "img_1.jpg"],
            "'flow_x_*' (2), 'flow_y_*' (2) and 'img_*' (1)",
        ),
        (["img_1.jpg", "img_2.jpg", "thumbnail.jpg"], "'img_*' (2) and 'thumbnail' (1)"),
        (["cam1_1.jpg", "cam1_2.jpg", "cam2_1.jpg"], "'cam1_*' (2) and 'cam2_*' (1)"),
        (["1_x.jpg", "1_y.jpg", "2_x.jpg", "2_y.jpg"], "'*_x' (2) and '*_y' (2)"),
        (["1.jpg", "1_mask.png"], "'*' (1) and '*_mask' (1)"),
        (["IMG_1.jpg", "img_2.jpg"], "'IMG_*' (1) and 'img_*' (1)"),
        ([f"{letter}.jpg" for letter in "abcdefg"], "'a' (1), 'b' (1), 'c' (1), 'd' (1), 'e' (1)"),
    ],
)
def test_pictures_of_several_videos_are_refused_by_name(names, received):
    with pytest.raises(DecodeError) as error:
        frame_names(names, "walk/eli")
    assert "Cannot decode 'walk/eli'" in str(error.value)
    assert received in str(error.value)


@pytest.mark.parametrize("names", [["1.jpg", "1.png"], ["01.jpg", "1.jpg"]])
def test_two_pictures_of_one_frame_are_refused(names):
    with pytest.raises(DecodeError, match=f"of one frame, '{names[0]}' and '{names[1]}'"):
        frame_names(names, "walk/eli")
