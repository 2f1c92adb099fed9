"""Words that prompts are made of: titles of films that do not exist, people, subjects, opinions and openings."""


def listed(text: str) -> list[str]:
    """The parts of a text between its bars and line ends."""
    return text.strip().replace("\n", "|").split("|")


ADJECTIVES = listed("""
Silent|Crooked|Golden|Last|Hidden|Broken|Quiet|Paper|Winter|Crimson|Hollow|Distant|Borrowed|Honest|Bitter|Wooden
Lucky|Restless|Velvet|Frozen|Foolish|Gentle|Second|Endless|Forgotten|Stubborn|Electric|Careless|Blue|Hungry
Polite|Savage|Narrow|Sleeping|Burning|Lonely|Perfect|Secret|Seventh|Empty|Wild|Ordinary|Reluctant|Midnight
Little|Wicked|Tender|Painted|Faithful|Unlikely|Slow|Northern|Southern|Invisible|Rusty|Patient|Sudden|Glass|Iron
Summer|Sunday|Guilty
""")

NOUNS = listed("""
Harbour|Orchard|Letter|River|Garden|Promise|Kitchen|Train|Lighthouse|Mountain|Wedding|Mirror|Soldier|Stranger
Winter|Bridge|Daughter|Thief|Island|Clock|Painter|Hotel|Witness|Dog|Voyage|Neighbour|Teacher|Season|Secret
Window|Map|Farmer|Sister|Brother|Detective|Piano|Station|Storm|Field|Circus|Dancer|Doctor|Inheritance|Village
Spy|Robot|Ghost|Boxer|Cook|Librarian|Bicycle|Tailor|Funeral|Holiday|Factory|Border|Machine|Monster|Kingdom
Astronaut|Ferry|Reunion|Verdict|Game
""")

PLACES = listed("""
Maple Street|Norwood|the Valley|Salt Lake Road|the North|Room Nine|Ashford|the Old Town|Cedar Hill|Lisbon
the Coast|Platform Four|the Desert|Harlow Bay|Brookfield|the Moon|Winslow|Rose Lane|the Border|Marseille
the Suburbs|Dry Creek
""")

NAMES = listed("""
Anna|Tomas|Ruth|Daniel|Maya|Oliver|Grace|Samir|Helen|Victor|Nora|Felix|Lucy|Arthur|Ines|Peter|Clara|Hugo|Amira
Walter|Rosa|Simon|Edith|Marcus|Joan|Leo|Priya|Henry|Irene|Carlos|Martha|Ben|Sofia|George|Alice|Omar|Julia|Frank
Mei|Paul
""")

TITLES = (
    "The {adjective} {noun}",
    "The {adjective} {noun}",
    "{adjective} {noun}",
    "The {noun} of {place}",
    "The {noun}'s {noun_2}",
    "{name} and the {noun}",
    "{name}'s {noun}",
    "A {noun} for {name}",
    "Goodbye, {place}",
    "Return to {place}",
    "{noun} and {noun_2}",
    "{name}",
    "Before the {noun}",
    "The {noun} Next Door",
    "No {noun} Tonight",
    "Waiting for {name}",
    "The {noun} 2",
)

GENRES = listed("""
comedy|romantic comedy|thriller|horror film|western|war film|science fiction film|children's film|cartoon
musical|documentary|crime drama|family drama|spy film|sports film|historical epic|road movie|ghost story
love story|heist film|coming-of-age story|disaster movie|courtroom drama|silent film|low-budget action movie
superhero film|mystery|sequel
""")

ASPECTS = listed("""
the script|the acting|the pace|the music|the camera work|the ending|the dialogue|the jokes|the child actors
the villain|the special effects|the opening scene|the love story|the costumes|the lead actress|the lead actor
the plot twists|the first half|the second half|the editing|the characters|the director's style|the chase scenes
the length|the message|the supporting cast|the fight scenes|the quiet moments|the sound|the scenery|the story
the mood|the humour|the suspense
""")

OPINIONS = (
    ("awful", "terrible", "one of the worst films of the year", "unwatchable", "a complete disaster"),
    ("bad", "a waste of time", "dull and badly made", "boring", "annoying"),
    ("weak", "disappointing", "too long and rather flat", "a missed chance", "forgettable"),
    ("mixed", "half good and half bad", "uneven", "neither good nor bad", "watchable but nothing more"),
    ("good", "pleasant", "better than expected", "worth seeing", "solid and entertaining"),
    ("very good", "smart and moving", "a real pleasure", "gripping", "funny and warm"),
    ("wonderful", "a masterpiece", "one of the best films of the year", "unforgettable", "close to perfect"),
)
"""What can be thought of a film, from the worst to the best."""

VERDICTS = ("hated", "disliked", "did not much like", "are not sure about", "liked", "enjoyed", "loved")
"""What you did with a film, for each of the opinions."""

VIEWERS = listed("""
a tired critic|a young critic|an old film lover|a father of two|a student|a newspaper critic|a teenager
a retired teacher|somebody who hates this genre|somebody who loves this genre|a blogger|a radio host
a grumpy neighbour|a film student
""")

OPENINGS = (
    ("I wanted to leave after", "There is nothing in", "Avoid", "The worst part of", "What a mess", "Not even"),
    ("It is hard to care about", "The jokes fall", "I was bored by", "Nobody in this film", "Sadly,", "Too loud and"),
    (
        "The film begins well, but",
        "I expected more from",
        "A good idea that",
        "Somewhere in here",
        "It tries hard, but",
    ),
    ("Parts of it", "If you can forgive", "The first hour", "I liked the", "On the one hand,", "It has its moments"),
    ("You could do worse than", "A small film with", "It does not always work, but", "I laughed more than", "A decent"),
    ("One of the pleasures of", "The cast is", "I did not expect to be so", "Smart, funny and", "It kept me", "A warm"),
    ("I cannot remember the last time", "From the first scene", "See it", "Everything about", "A film that", "Rarely"),
)
"""How a review can begin, for each of the opinions."""

NEUTRAL = listed("""
The plot|The story follows|Set in|After|When|In|At its best,|This is|It's|As a|With|The director|While
For all its|{name} plays|Like|There's|Most of|You|What|Even|If|Watching|The film|The movie|Once|Despite|Some
Though|Here is a film that
""")
"""How any review can begin."""

SUBJECTS = listed("""
a rainy Sunday|learning to cook|a broken washing machine|the first day at a new job|an old bicycle|a crowded bus
a garden|moving to a new house|a lost dog|a long train journey|a birthday cake|the neighbours|winter mornings
a bad haircut|coffee|a phone that does not work|visiting grandparents|a school concert|a street market
a summer holiday|fishing|a power cut|a football match|a small restaurant|buying shoes|a noisy street|the sea
a walk in the woods|a library|a wedding|a storm|a job interview|a headache|being late|an old friend
a letter that came too late|a cheap hotel|a museum|a cinema|a piano|a hospital waiting room
a new pair of glasses|a car that would not start|a quiet village|baking bread|a cat|a hot day|a secret
a night shift|a lost key|a good book|a radio programme|a television series|a ferry|a farm|snow|a photograph
""")

STORY_OPENINGS = (
    "{name} had never liked",
    "On Monday morning {name}",
    "Nobody knew why {name}",
    "It was raining when {name}",
    "The old {noun} stood",
    "Every evening {name} and {name_2}",
    "{name} opened the door and",
    '"You are late," said {name}',
    "When {name} was ten years old,",
    "The last bus had gone, so {name}",
    "For years {name} had been",
    "There was once a {noun}",
)

EVERYDAY_OPENINGS = listed("""
Last week|I have always|My sister|There is something about|Yesterday|People often|When I was young,
The trouble with|It was|In our street|Every year|Nobody likes|I never thought that|The best thing about|At first
My father used to|We had been
""")

DIALOGUE_OPENINGS = (
    '"Did you like',
    '"I thought',
    '"What did you',
    '"Well,',
    '"Have you seen',
    '"Why did',
    '"Honestly,',
)
