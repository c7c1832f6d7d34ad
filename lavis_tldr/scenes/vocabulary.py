"""Words of the drawn scenes: what each thing, colour and place is called.

Pure data. Every name is true of what the drawing modules of this package draw under it.
"""

from __future__ import annotations

# Colour: (RGB, names).
COLOURS = {
    "red": ((214, 40, 40), ("red", "red", "bright red", "scarlet")),
    "orange": ((243, 132, 22), ("orange", "orange", "bright orange")),
    "yellow": ((250, 210, 30), ("yellow", "yellow", "bright yellow", "lemon yellow")),
    "green": ((40, 150, 60), ("green", "green", "emerald green")),
    "lime": ((160, 220, 50), ("lime green", "light green")),
    "teal": ((0, 128, 128), ("teal", "dark turquoise")),
    "cyan": ((70, 205, 220), ("turquoise", "cyan", "light blue")),
    "blue": ((35, 90, 210), ("blue", "blue", "royal blue")),
    "navy": ((25, 35, 105), ("navy blue", "dark blue")),
    "purple": ((130, 55, 165), ("purple", "purple", "violet")),
    "lavender": ((190, 160, 230), ("lavender", "lilac", "light purple")),
    "pink": ((248, 130, 175), ("pink", "pink", "rosy pink")),
    "magenta": ((215, 25, 140), ("magenta", "hot pink", "deep pink")),
    "brown": ((125, 75, 40), ("brown", "brown", "chocolate brown")),
    "beige": ((225, 200, 160), ("beige", "tan", "cream-coloured")),
    "maroon": ((120, 20, 45), ("maroon", "dark red", "burgundy")),
    "white": ((250, 250, 248), ("white", "white", "snow white")),
    "grey": ((140, 145, 150), ("gray", "grey", "silver gray")),
    "black": ((35, 35, 40), ("black", "black", "jet black")),
}

# Shape: (names, kind). The plural of a name is in PLURALS if it is not name + "s".
SHAPES = {
    "circle": (("circle", "disc"), "form"),
    "square": (("square", "square block"), "form"),
    "triangle": (("triangle",), "form"),
    "star": (("star", "five-pointed star"), "form"),
    "heart": (("heart", "heart shape"), "form"),
    "diamond": (("diamond", "rhombus"), "form"),
    "cross": (("cross", "plus sign"), "form"),
    "ring": (("ring", "hoop"), "form"),
    "crescent": (("crescent", "crescent shape"), "form"),
    "hexagon": (("hexagon",), "form"),
    "arrow": (("arrow", "arrow sign"), "form"),
    "house": (("house", "little house", "cottage"), "building"),
    "tower": (("tower", "castle tower"), "building"),
    "lighthouse": (("lighthouse",), "building"),
    "tent": (("tent", "camping tent"), "building"),
    "tree": (("tree", "leafy tree"), "plant"),
    "pine": (("pine tree", "fir tree", "conifer"), "plant"),
    "flower": (("flower", "blossom", "daisy"), "plant"),
    "cactus": (("cactus",), "plant"),
    "mushroom": (("mushroom", "toadstool"), "plant"),
    "boat": (("boat", "sailboat", "sailing boat"), "vehicle"),
    "car": (("car", "automobile"), "vehicle"),
    "bus": (("bus", "school bus", "coach"), "vehicle"),
    "train": (("train", "locomotive", "steam engine"), "vehicle"),
    "rocket": (("rocket", "spaceship"), "flyer"),
    "airplane": (("airplane", "plane", "aircraft"), "flyer"),
    "balloon": (("balloon", "toy balloon"), "flyer"),
    "kite": (("kite", "paper kite"), "flyer"),
    "fish": (("fish",), "animal"),
    "bird": (("bird", "songbird"), "animal"),
    "duck": (("duck", "duckling"), "animal"),
    "cat": (("cat", "kitten", "kitty"), "animal"),
    "dog": (("dog", "puppy", "hound"), "animal"),
    "rabbit": (("rabbit", "bunny", "hare"), "animal"),
    "turtle": (("turtle", "tortoise"), "animal"),
    "snail": (("snail",), "animal"),
    "butterfly": (("butterfly",), "animal"),
    "whale": (("whale",), "animal"),
    "snowman": (("snowman",), "form"),
    "cup": (("cup", "mug", "coffee cup"), "thing"),
    "bottle": (("bottle", "flask"), "thing"),
    "umbrella": (("umbrella", "parasol"), "thing"),
    "hat": (("hat", "top hat"), "thing"),
    "key": (("key", "door key"), "thing"),
    "book": (("book", "notebook"), "thing"),
    "bell": (("bell",), "thing"),
    "lamp": (("lamp", "table lamp"), "thing"),
    "candle": (("candle", "burning candle"), "thing"),
    "chair": (("chair",), "thing"),
    "clock": (("clock", "round clock"), "thing"),
    "envelope": (("envelope", "letter"), "thing"),
    "flag": (("flag", "banner"), "thing"),
    "ladder": (("ladder",), "thing"),
    "shirt": (("shirt", "t-shirt"), "thing"),
    "boot": (("boot", "rubber boot"), "thing"),
    "apple": (("apple",), "food"),
    "pear": (("pear",), "food"),
    "cherry": (("pair of cherries",), "food"),
    "icecream": (("ice cream cone", "ice cream"), "food"),
    "cake": (("birthday cake", "cake"), "food"),
}

PLURALS = {
    "fish": "fish",
    "cactus": "cacti",
    "bus": "buses",
    "school bus": "school buses",
    "coach": "coaches",
    "puppy": "puppies",
    "kitty": "kitties",
    "bunny": "bunnies",
    "butterfly": "butterflies",
    "snowman": "snowmen",
    "cross": "crosses",
    "rhombus": "rhombuses",
    "flask": "flasks",
    "pair of cherries": "pairs of cherries",
    "daisy": "daisies",
    "aircraft": "aircraft",
}

# What a kind of thing can be said to do wherever it is drawn.
VERBS = {
    "form": ("drawn", "shown", "placed"),
    "building": ("standing", "seen", "built"),
    "plant": ("growing", "standing", "seen"),
    "vehicle": ("parked", "stopped", "seen"),
    "flyer": ("hovering", "floating", "seen"),
    "animal": ("resting", "waiting", "seen"),
    "thing": ("placed", "lying", "shown"),
    "food": ("lying", "placed", "shown"),
}

# Background: (phrases that say where, colours that would not stand out against it).
BACKGROUNDS = {
    "beach": (
        ("on the beach", "on a sandy beach", "at the seaside", "on the sand by the sea", "on a sunny shore"),
        ("beige", "cyan", "yellow"),
    ),
    "ocean": (
        ("under water", "in the deep blue sea", "among the bubbles underwater", "on the ocean floor"),
        ("blue", "cyan", "navy", "teal"),
    ),
    "sky": (
        ("in the blue sky", "among white clouds", "up in the cloudy sky", "high in the air"),
        ("cyan", "white"),
    ),
    "meadow": (
        ("on green grass", "in a meadow", "on a lawn", "in a grassy field", "on a hill under a blue sky"),
        ("green", "lime", "cyan"),
    ),
    "night": (
        ("at night", "under the stars", "under the moon", "in the starry night", "in the moonlight"),
        ("navy", "black", "purple", "blue", "maroon"),
    ),
    "desert": (
        ("in the desert", "among sand dunes", "in the hot desert sun", "on the dunes"),
        ("orange", "beige", "yellow"),
    ),
    "snow": (
        ("in the snow", "on a snowy day", "while snow is falling", "in a white winter landscape"),
        ("white", "lavender", "grey"),
    ),
    "sunset": (
        ("at sunset", "in front of the setting sun", "under an orange evening sky", "at dusk"),
        ("orange", "red", "pink", "magenta", "maroon"),
    ),
    "city": (
        ("in the city", "in front of tall buildings", "in front of a skyline", "on a city street"),
        ("grey", "black", "navy"),
    ),
    "forest": (
        ("in the forest", "in the woods", "between the tree trunks", "in a dark green forest"),
        ("green", "teal", "brown", "black"),
    ),
    "mountains": (
        ("in the mountains", "in front of snowy mountains", "below the mountain peaks", "in a valley"),
        ("grey", "green", "cyan", "lime"),
    ),
    "room": (
        ("in a room", "on a wooden floor", "indoors by the window", "in the living room"),
        ("beige", "brown", "orange"),
    ),
    "brick": (
        ("in front of a brick wall", "against red bricks", "by an old brick wall"),
        ("red", "maroon", "brown", "orange"),
    ),
    "table": (
        ("on a wooden table", "on a table top", "on brown wooden boards", "on a desk of planks"),
        ("brown", "orange", "beige", "maroon"),
    ),
    "checkered": (
        ("on a checkered cloth", "on a chessboard pattern", "on checked tiles", "on a checkerboard"),
        ("white", "grey"),
    ),
    "dotted": (
        ("on polka dot paper", "on a dotted background", "on a spotted wallpaper"),
        ("white", "pink"),
    ),
    "striped": (
        ("on striped wallpaper", "on a striped background", "before vertical stripes"),
        ("white", "cyan", "blue"),
    ),
    "space": (
        ("in outer space", "among the planets", "near a ringed planet", "between planets and stars"),
        ("black", "navy", "purple", "maroon"),
    ),
    "paper": (
        ("on a plain white background", "on white paper", "on a blank page"),
        ("white", "beige", "lavender"),
    ),
    "river": (
        ("by the river", "beside a winding river", "on the river bank", "near a stream"),
        ("green", "blue", "cyan", "lime"),
    ),
    "rain": (
        ("in the rain", "on a rainy day", "under dark rain clouds", "in a heavy shower"),
        ("grey", "navy", "blue", "teal"),
    ),
}

# Too thin or too varied for a texture to be seen.
PLAIN_ONLY = frozenset({"ladder", "key", "chair", "cherry", "book", "candle", "boat"})
TEXTURES = {"plain": ("",), "striped": ("striped", "stripy"), "spotted": ("spotted", "dotted", "speckled")}
SIZES = {
    "small": ("small", "small", "tiny", "little"),
    "medium": ("",),
    "large": ("big", "large", "large", "huge"),
}
NUMBERS = {2: ("two", "a pair of"), 3: ("three",), 4: ("four",)}

LEFT = ("to the left of", "on the left of", "left of")
RIGHT = ("to the right of", "on the right of", "right of")
BESIDE = ("next to", "beside", "alongside")
ABOVE = ("above", "over")
BELOW = ("below", "under", "beneath", "underneath")

# Words of alt texts about nothing drawn, by slot.
ALT_TEXT = (
    (
        "cheap",
        "best",
        "new",
        "professional",
        "vintage",
        "free",
        "official",
        "handmade",
        "award-winning",
        "luxury",
    ),
    (
        "wedding photography",
        "kitchen furniture",
        "running shoes",
        "smartphone case",
        "mortgage rates",
        "yoga class",
        "leather sofa",
        "guitar lessons",
        "marketing webinar",
        "dentist appointment",
        "football tickets",
        "resume template",
        "engagement jewellery",
        "laptop charger",
        "skin care",
        "tax software",
        "hotel deals",
        "movie trailer",
        "sushi recipe",
        "fitness program",
    ),
    ("sale", "review", "near me", "discount code", "ideas", "download", "gallery", "online", "for beginners"),
    ("2014", "2016", "2019", "| shop", "- part 2", "pdf", "click to enlarge", "stock photo", "thumbnail", ""),
)
