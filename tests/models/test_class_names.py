from models import class_names


def test_classes_are_in_the_order_of_the_logits() -> None:
    wnids = class_names.wnids()
    assert (len(wnids), wnids[0], wnids[-1]) == (1000, "n01440764", "n15075141")
    assert list(wnids) == sorted(wnids)


def test_classes_have_a_word_for_people() -> None:
    names = class_names.names()
    assert (names["n01440764"], names["n02123045"]) == ("tench", "tabby")
    assert not set(class_names.wnids()) - names.keys()


def test_real_labels_are_of_50_000_images_some_of_which_show_none_of_the_classes() -> None:
    """2006.07159: 46,837 images are left."""
    labels = class_names.real_labels()
    assert len(labels) == 50_000
    assert sum(map(bool, labels)) == 46_837
    assert {number for classes in labels for number in classes} == set(range(1000))
