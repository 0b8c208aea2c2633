"""Similar store: which words are opposites, and the form under which words are compared.

An own list of common English opposites, and rules for what prefixes and suffixes turn around.
Knows words only; what a swapped pair means for two questions is decided in wording.
"""

from collections.abc import Set as AbstractSet
from functools import cache, lru_cache

from .vocabulary import STOP, pairs, words

OPPOSITES = """
open:close shut, lock:unlock, opening:closing closure, deposit:withdraw withdrawal, buy
purchase:sell, sale:purchase, buyer:seller vendor, lend loan:borrow, lender:borrower, owe:own,
credit:debit, earn:spend, income revenue:expense expenditure outgoing, profit gain:loss, win:lose,
winner:loser, save:spend waste, send:receive get, sender:receiver recipient, give:take receive,
payer:payee, employer:employee, hire recruit employ:fire dismiss, import:export, incoming
inbound:outgoing outbound, upload:download, upgrade:downgrade, increase raise:decrease reduce
lower, rise:fall drop decline, grow expand:shrink contract, add:remove subtract delete,
insert:delete extract remove, include:exclude omit, attach:detach, install:uninstall, create make
build:destroy delete demolish, construct:destroy, enable:disable, activate:deactivate, start
begin:stop end finish, start:finish end, begin:end, launch:shutdown, resume continue:pause stop
interrupt, continue:quit cease, open:end, connect:disconnect, join merge unite:split separate
divide leave, subscribe:unsubscribe, enter:exit leave, arrive:leave depart, arrival:departure,
entrance entry:exit, come:go, stay remain:leave go, accept approve allow:reject refuse decline
deny, allow permit:forbid prohibit ban prevent block, approve:disapprove, agree:disagree refuse,
confirm:deny cancel, admit:deny, grant:deny revoke, book:cancel, block freeze:unblock unfreeze,
encrypt:decrypt, encode:decode, compress:decompress, serialize:deserialize, push:pull, pull:push,
lift:lower drop, throw:catch, catch:release, hold keep:release drop, keep:discard lose, find:lose,
hide conceal:show reveal, show display:hide, expose:conceal hide, cover:uncover, wrap:unwrap,
pack:unpack, load:unload, fill:empty drain, inflate:deflate, ascend climb:descend,
ascending:descending, ascent:descent, advance proceed:retreat withdraw, attack:defend,
offense:defense, love like adore:hate dislike detest, love:hatred, friend ally:enemy foe,
friendly:hostile, trust:distrust suspect doubt, believe:doubt, remember recall:forget,
learn:forget, teach:learn, teacher:student pupil, ask question:answer reply, succeed:fail,
success:failure, pass:fail, help:hinder harm, support:oppose, praise compliment:criticize blame,
reward:punish penalize, reward:punishment, encourage:discourage, protect:endanger harm, heal
cure:hurt injure, improve:worsen deteriorate, improvement:deterioration, strengthen:weaken, repair
fix mend:break damage, broken:intact working, build:break, live survive:die, live:dead, alive
living:dead, life:death, birth born:death die, birth:burial, kill:save, wake:sleep, awake:asleep,
sit:stand, float:sink, melt thaw:freeze solidify, heat warm:cool chill, boil:freeze, wet moist
damp:dry, tighten:loosen, tight:loose, tie:untie, speed accelerate:slow brake decelerate, hurry
rush:delay, laugh:cry weep, smile:frown, speak talk:listen, read:write, send:keep, marry:divorce,
married:single divorced unmarried, marriage:divorce, move:stay, appear:disappear vanish,
attract:repel, absorb:emit, inhale:exhale, simplify:complicate, maximize:minimize, maximum
max:minimum min, maximal:minimal, more:less fewer, most:least fewest, much:little, many:few,
several:few, plus:minus, multiply:divide, positive:negative, majority:minority, major:minor,
surplus:deficit shortage, abundance:scarcity lack, abundant plentiful:scarce, demand:supply,
ceiling:floor, cause:effect, before:after, prior previous preceding:next following subsequent,
earlier:later, early:late, past:future, ancient old:modern new, new:used old, young youthful:old
elderly aged, fresh:stale rotten, recent:ancient old, temporary:permanent lasting, brief short:long
lengthy, first initial:last final, former:latter, oldest:newest, beginning:ending end,
morning:evening night, dawn sunrise:dusk sunset, day:night, daily:nightly, midnight:noon,
yesterday:tomorrow, now:later then, soon:late, always:sometimes rarely, often frequently:rarely
seldom sometimes, frequent:rare infrequent, common:rare uncommon, once:twice, instant
immediate:delayed, big large huge:small little tiny, enormous giant gigantic:tiny, great:small poor
terrible, tall:short small, long:short, high:low, wide broad:narrow, thick:thin, fat obese
plump:thin slim skinny lean, heavy:light, deep:shallow, full:empty, whole entire complete:partial
incomplete part, dense:sparse, strong powerful:weak feeble, hard firm solid:soft, hard difficult
tough challenging:easy simple effortless, complicated complex:simple, rough:smooth, sharp:blunt
dull, straight:curved crooked bent, flat:steep hilly bumpy, rigid stiff:flexible, hot:cold cool,
warm:cool cold, light bright:dark dim, lightness:darkness, brighten:darken dim, loud noisy:quiet
silent, noise:silence, clean:dirty filthy messy, tidy neat:messy, pure:impure contaminated
polluted, clear:unclear vague cloudy blurry obscure, transparent:opaque, visible:hidden invisible,
obvious:hidden subtle, public:private, open:secret, known:secret, fast quick rapid swift:slow,
sudden abrupt:gradual, good well great:bad evil poor ill terrible awful, best:worst, better:worse,
right correct:wrong incorrect, right:left, true:false untrue, truth:lie falsehood, real genuine
authentic:fake false artificial imaginary nominal unreal, original:copy fake, honest
truthful:dishonest lying deceitful, fact:fiction, actual:possible potential hypothetical, real
actual:virtual, natural:artificial synthetic unnatural, organic:synthetic, safe secure:dangerous
unsafe risky hazardous, safety:danger risk, safe:out, healthy:sick ill unhealthy, well:sick ill,
health:illness disease sickness, fit:unfit, sane:insane mad crazy, smart clever intelligent bright
wise:stupid dumb foolish dull silly, wise:foolish unwise, genius:idiot, wisdom:folly, happy glad
joyful cheerful pleased:sad unhappy miserable gloomy depressed, happiness joy:sadness sorrow grief
misery, pleasure delight:pain, pleasant nice enjoyable:unpleasant nasty awful, nice kind:mean nasty
cruel unkind, gentle:rough harsh violent, polite:rude impolite, calm relaxed:nervous anxious upset
agitated excited, calm peaceful:stormy violent, peace:war, brave courageous:cowardly afraid timid
scared, afraid scared:brave fearless, confident:shy insecure doubtful, proud:ashamed humble,
arrogant:humble modest, generous:selfish stingy greedy mean, patient:impatient, lazy idle:busy
diligent industrious hardworking active, active:passive inactive dormant idle lazy, busy
occupied:idle free, serious:frivolous playful funny joking trivial, formal:informal casual,
strict:lenient, mature:immature childish, expert:novice amateur beginner, professional:amateur,
experienced:inexperienced, skilled:unskilled, guilty:innocent, legal lawful:illegal unlawful,
moral:immoral, virtue:vice, hero:villain, angel:devil, heaven:hell, god:devil, saint:sinner,
optimist:pessimist, optimistic:pessimistic, hope:despair, interesting exciting entertaining
fascinating:boring dull tedious monotonous, interested:bored, fun:boring, beautiful pretty handsome
attractive gorgeous:ugly hideous, beauty:ugliness, delicious tasty yummy:disgusting bland tasteless
awful, sweet:sour bitter salty savory, sugary:bitter, rich wealthy:poor, wealth:poverty, cheap
inexpensive affordable:expensive costly pricey, free:paid, paid:unpaid, valuable
precious:worthless, useful helpful:useless unhelpful, important significant essential crucial
vital:unimportant trivial insignificant minor, necessary required mandatory compulsory
obligatory:unnecessary optional voluntary, essential:optional, relevant:irrelevant, same identical
equal similar:different unlike other, alike:different unlike, equal:unequal, similarity:difference,
normal ordinary usual regular:abnormal strange odd unusual special extraordinary irregular
paranormal, ordinary:special exceptional, familiar:strange unfamiliar foreign, typical:atypical,
general:specific particular special, generic:specific, global:local, international foreign:domestic
national, national:local, domestic:wild, native:foreign, urban:rural, city:countryside,
simple:fancy, plain:fancy decorated, single:multiple double, singular:plural, individual:group
collective joint, alone:together, together:apart separately, near close:far distant, nearby:faraway
distant, nearest closest:farthest furthest, here:there elsewhere, present:absent, presence:absence,
available:unavailable taken, vacant:occupied, empty:occupied, internal inner interior:external
outer exterior, inside within:outside, indoor indoors:outdoor outdoors, top:bottom, upper:lower,
up:down, upstairs:downstairs, upward upwards:downward downwards, above over:below under beneath,
on:off, in:out, into:from, to:from, onto:off, toward towards:away, front:back rear, forward
forwards:backward backwards back, ahead:behind, horizontal:vertical, left:right,
clockwise:counterclockwise anticlockwise, online:offline, sunny:rainy cloudy, cloudy:clear,
ceiling:ground, land:sea water, sky:ground earth, mountain:valley, man gentleman:woman lady,
men:women, boy:girl, male:female, he:she, him:her, husband:wife, father dad:mother mom mum,
son:daughter, brother:sister, uncle:aunt, nephew:niece, grandfather grandpa:grandmother grandma,
king:queen, prince:princess, boyfriend:girlfriend, bride:groom, actor:actress, host:guest,
parent:child, adult:child kid minor, boss:subordinate, master:servant slave, leader:follower,
doctor:patient, landlord:tenant, client:server, predator:prey, victim:attacker,
liberal:conservative, democrat:republican, democracy:dictatorship, freedom liberty:slavery
captivity, freed release:imprison captured, free:captive, independent:dependent,
independence:dependence, theory:practice, theoretical:practical, abstract:concrete,
objective:subjective, question:statement, input:output, encoder:decoder, client:provider,
synchronous sync:asynchronous async, static:dynamic, mutable:immutable, implicit:explicit,
relative:absolute, verbose:concise, vulnerable:secure protected, stable steady:unstable shaky
volatile, constant:variable changing, fixed:variable flexible, change:keep, certain sure:uncertain
unsure doubtful, certainty:doubt, clarity:confusion, clear:confusing, likely probable:unlikely
improbable, possible:impossible, legitimate:bogus fraudulent, responsible:irresponsible, careful
cautious:careless reckless, order:disorder chaos, organized:chaotic messy, success:disaster,
victory triumph:defeat, victorious:defeated, strength:weakness, advantage pro benefit:disadvantage
con drawback, asset:liability, solution:problem, friend:stranger, acquire obtain gain:lose,
borrow:return, checkin:checkout, login:logout, logon:logoff, signin:signout, follow:lead,
follow:unfollow, lead:trail, chase:flee, hit:miss, hire:rent, lease:buy, aim:miss, mute:unmute,
zoom:pan, pin:unpin, like:unlike, select:deselect, check:uncheck, mount:dismount unmount,
dress:undress, arm:disarm, assemble:disassemble, plug:unplug, fold:unfold, seal:unseal, cheer:boo,
comfort:discomfort, conscious:unconscious, deliberate intentional:accidental unintentional,
accident:purpose, acid acidic:alkaline base, vegetarian vegan:meat, raw:cooked, ripe:unripe,
hungry:full, thirsty:quenched, thirsty:hydrated, drunk:sober, tired exhausted sleepy:energetic
rested awake, boring:exciting, stressful:relaxing, stress:relax, fever:chill, gain:lose, gain:shed,
bless:curse, blessing:curse, luck:misfortune, lucky fortunate:unlucky unfortunate,
fortune:misfortune, crowded:deserted empty, inhabited:deserted, sunny:dark, shine:fade,
bloom:wither, flourish:wither decline, thrive:struggle, perfect:flawed imperfect, flawless:flawed,
excellent superb wonderful amazing fantastic:terrible awful horrible poor bad,
outstanding:mediocre, superior:inferior, quality:junk, masterpiece:disaster trash, recommend:avoid,
recommend:discourage, satisfied content:dissatisfied disappointed, impressed:disappointed
unimpressed, satisfying:disappointing, impressive:disappointing, surprised:unsurprised,
predictable:surprising unpredictable, believable credible:incredible implausible unbelievable,
memorable:forgettable, original:unoriginal derivative, talented:talentless, sincere:insincere,
loyal faithful:disloyal treacherous, ally:opponent, partner teammate:rival opponent,
cooperate:compete, cooperation:competition, respect:contempt disrespect, admire:despise,
love:loathe, desire want:dread, tolerate:reject, welcome:reject unwelcome, innocence:guilt,
justice:injustice, lead:lag, verbal:written, oral:written, manual:automatic,
manually:automatically, analog:digital, wired:wireless, wet:arid, humid:dry arid, tropical:polar
arctic, fertile:barren, sterile:fertile, smooth:bumpy, liquid:solid, gas:solid, hollow:solid,
ebb:flow, overt:covert, introvert:extrovert, introverted:extroverted outgoing, shy:outgoing bold,
timid:bold, cautious:bold, humble:proud, mercy:cruelty, merciful:merciless, tense:relaxed,
tension:relaxation, anxious:carefree, worry:relax, frown:grin, mourn:celebrate, lament:rejoice,
sorrow:joy, sell:keep, expire:renew, expired:valid, valid:invalid, void:valid, renew:cancel,
extend:shorten, lengthen:shorten, widen:narrow, deepen:fill, thicken:thin, overpay:underpay,
overestimate:underestimate, overweight:underweight, prefix:suffix, ancestor:descendant,
predecessor:successor, precede:follow succeed, antonym:synonym, consonant:vowel,
numerator:denominator, odd:even, prime:composite, horizontal:upright, concave:convex,
virtual:physical, mental:physical, body:mind, emotional:rational, rational:irrational,
logical:illogical emotional, legal:criminal, civilian:military, offensive:defensive,
aggressive:passive peaceful, violent:peaceful, ally:adversary, tame:wild, civilized:savage
barbaric, sacred holy:profane secular unholy, religious:secular atheist, retail:wholesale,
gross:net, principal:interest, bull:bear, bullish:bearish, domestic:overseas abroad, refund:charge,
charge:discharge, charged:refunded, fulltime:parttime, all every:some most, fair:foul unfair,
attractive:repulsive, polite civil courteous:rude uncivil, substantial real:unsubstantial, logical
coherent:incoherent, open receptive:unreceptive closed, happy euphoric ecstatic:unhappy, simple
straightforward:difficult, even:only, new:worn, gigantic vast immense:minuscule miniscule, truthful
true:untruthful, alive:extinct, whole:half, everyone everybody:someone, everything:something
"""
"""Entries are parted by commas; a word left of a colon is an opposite of each word right of it."""

GROUPS = """
north:south:east:west northern:southern:eastern:western breakfast:lunch:dinner
spring:summer:autumn:winter second:third:fourth:fifth
red:blue:green:yellow:black:white:purple:orange:brown:pink:gray solid:liquid:gas
daily:weekly:monthly:yearly today:yesterday:tomorrow small:medium:large gold:silver:bronze
visa:mastercard:amex euro:dollar:pound:yen iphone:android windows:linux:macos
python:java:javascript:rust his:her he:she beef:pork:chicken coffee:tea checking:savings
asia:africa:europe:america:australia mercury:venus:mars:jupiter:saturn celsius:fahrenheit:kelvin
inch:centimeter:meter:foot mile:kilometer pound:kilogram gram:ounce hour:minute:day:week:month:year
"""
"""Words of which only one holds at a time; every two of a group count as opposites."""

_WEAK = """
in out on off up down to from into over under above below before after he she him her his my your
their our me you mine yours back now then here there other get give take come go first last second
third fourth fifth next previous more less most least much little many few some free well will like
right left light even base con pro ask question want need change keep hour minute day week month
year past end follow long short live see make made old new
"""
_IRREGULAR = """
bought:buy sold:sell sent:send paid:pay lost:lose won:win went:go gone:go came:come gave:give
given:give took:take taken:take withdrew:withdraw withdrawn:withdraw left:left spent:spend
lent:lend got:get gotten:get made:make making:make kept:keep held:hold found:find hid:hide
hidden:hide shown:show began:begin begun:begin broke:break broken:break stole:steal stolen:steal
forgot:forget forgotten:forget froze:freeze frozen:freeze unfroze:unfreeze rose:rise risen:rise
fell:fall fallen:fall grew:grow grown:grow shrank:shrink shrunk:shrink taught:teach thought:think
told:tell said:say knew:know known:know wrote:write written:write spoke:speak spoken:speak
slept:sleep woke:wake awoke:wake sat:sit stood:stand sank:sink died:die dying:die dies:die
lying:lie lied:lie used:use using:use uses:use ate:eat eaten:eat saw:see seen:see threw:throw
thrown:throw caught:catch forbade:forbid forbidden:forbid better:good best:good worse:bad worst:bad
further:far furthest:far farthest:far children:child people:person feet:foot wives:wife taxes:tax
lives:life wanna:want meant:mean felt:feel heard:hear ran:run drove:drive driven:drive flew:fly
flown:fly charging:charge cancelled:cancel canceled:cancel cancelling:cancel cancellation:cancel
adding:add added:add adds:add freed:free ended:end ending:end buying:buy withdrawal:withdraw
cheque:check cheques:check checks:check
"""
_NO_COMPARISON = words("""
actually center closer counter daily early fairly finder former founder friendly hardly holder
lately later latter letter likely lover lower maker matter monthly nearly nightly number offer only
order over poster really sharply shortly tender under upper weekly yearly
""")
_NOT_NEGATED = words("""
abroad account across along amaz among amount apart appli around arrang arriv attract await debat
default deliver demand depart deposit describ design desir detail discharg discount discover diseas
dispatch display impart import impos impress improv income indeed index indoor inform inlin input
inside insight inspect inspir instal install instanc intake intend intense intent inter internal
into invest miss mission mistak under union unit until
""")
"""Stems that begin like a negation and are none."""

_NEGATING = ("un", "in", "im", "il", "ir", "dis", "non", "mis", "de", "anti", "ab", "a")
_LEAST_REST = {"a": 6, "ab": 5, "de": 5, "mis": 4, "in": 4, "im": 4, "un": 3, "anti": 4}
_OF_QUALITY = ("abl", "ibl", "ent", "ant", "al", "iv", "ous", "at", "it", "ur", "ect", "ful", "ar")
_VOWELS = frozenset("aeiouy")
IRREGULAR = pairs(_IRREGULAR)
_TURNS = """
over:under in:out up:down pre:post im:ex in:ex on:off en:dis inter:intra hyper:hypo macro:micro
maxi:mini in:de pro:anti fore:hind multi:single be:un en:de con:dis ac:de a:de as:dis
"""
_TURNED = tuple(each.partition(":")[::2] for each in _TURNS.split())
"""Beginnings that turn a word around where they replace each other."""


def _stem(word: str) -> str:
    """Take the plainest endings off: plurals, -ed, -ing and a silent e."""
    if len(word) < 4:
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        rest = word[: -len(ending)]
        if len(rest) > 2 and word.endswith(ending) and not _VOWELS.isdisjoint(rest):
            if rest[-1] == rest[-2] and rest[-1] not in "lszeo":
                return rest[:-1]
            word = rest
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _form(word: str) -> str:
    """Return a word without its ending; function words stay as they are."""
    if word in STOP:
        return word
    word = IRREGULAR.get(word, word)
    stem = _stem(word)
    return _stem(IRREGULAR.get(stem, stem))


@cache
def weak() -> frozenset[str]:
    """Return words of many meanings: their swap says something only where all else is the same."""
    return frozenset(_form(word) for word in _WEAK.split())


@cache
def _table() -> dict[str, frozenset[str]]:
    """Map each listed word's stem to the stems of its opposites."""
    return _read()[0]


@cache
def _read() -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """Read the lists: each word's opposites, and the words that share a side with it."""
    found: dict[str, set[str]] = {}
    mates: dict[str, set[str]] = {}
    entries = OPPOSITES.replace("\n", " ").split(",") + GROUPS.split()
    for entry in entries:
        sides = [{_form(word) for word in side.split()} for side in entry.split(":")]
        for here in sides:
            others = set[str]().union(*(side for side in sides if side is not here))
            for word in here:
                found.setdefault(word, set()).update(others - {word})
                mates.setdefault(word, set()).update(here)
    return (
        {word: frozenset(others) for word, others in found.items()},
        {word: frozenset(others) for word, others in mates.items()},
    )


@lru_cache(maxsize=16384)
def base(word: str) -> str:
    """Return the form under which a lower-case word is compared: "closing" and "closed" are one.

    Not a dictionary form: endings fall, also those of comparatives and adverbs of listed words.
    """
    stem = _form(word)
    table = _table()
    if stem in table or word in _NO_COMPARISON or word in STOP:
        return stem
    for ending in ("er", "est", "r", "st", "ly", "ily", "ier", "iest", "ness", "iness"):
        if not stem.endswith(ending):
            continue
        rest = stem[: -len(ending)]
        if ending.startswith("i"):
            rest += "y"
        if len(rest) < 3:
            continue
        doubled = rest[:-1] if rest[-1] == rest[-2] else rest
        for each in (rest, _stem(rest), doubled):
            if len(each) > 2 and each in table:
                return each
    return stem


@lru_cache(maxsize=16384)
def turned(word: str) -> frozenset[str]:
    """Return what is an opposite of a word: as listed, or by a changed prefix or suffix."""
    found = set(_table().get(word, ()))
    if word not in _NOT_NEGATED:
        for prefix in _NEGATING:
            rest = word[len(prefix) :]
            if word.startswith(prefix) and len(rest) >= _LEAST_REST.get(prefix, 3):
                found.add(rest)
                # What is opposite by its prefix shares its rest with "informal" and "formality".
                found.add(_stem(rest))
                # "noncrucial" is also an opposite of what is listed beside "crucial".
                found.update(_read()[1].get(rest, ()))
    for one, other in _TURNED:
        for old, new in ((one, other), (other, one)):
            if word.startswith(old) and len(word) - len(old) >= 4:
                found.add(new + word[len(old) :])
    if word.endswith("less") and len(word) > 6:
        rest = word[:-4]
        found.update((rest, _stem(rest), rest + "ful", _stem(rest + "ing"), rest + "y"))
    if word.endswith("ful") and len(word) > 5:
        found.add(word[:-3] + "less")
    found.discard(word)
    return frozenset(found)


def denies(word: str) -> bool:
    """Tell whether a word looks like the denial of another: "unreceptive", "nonfat"."""
    if word in _NOT_NEGATED or len(word) < 6:
        return False
    if word.startswith(("un", "non")):
        return not word.startswith(("under", "uni"))
    return word.startswith(("in", "im", "ir", "il", "dis")) and word.endswith(_OF_QUALITY)


def swaps(ours: AbstractSet[str], theirs: AbstractSet[str]) -> list[tuple[str, str]]:
    """Pair the words of one side with their opposites on the other, each as `base` gives it.

    A word is in one pair at most. Turned around, the arguments give the same pairs turned around.
    """
    found = [(word, other) for word in ours for other in turned(word) & theirs]
    found += [(word, other) for other in theirs for word in turned(other) & ours]
    if len(found) < 2:
        return found
    kept: dict[str, str] = {}
    # In an order that does not depend on which side is which.
    for word, other in sorted(set(found), key=lambda pair: (min(pair), max(pair))):
        if word not in kept and other not in kept.values():
            kept[word] = other
    return list(kept.items())
