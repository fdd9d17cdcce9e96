"""Each row of the planner's decision table, in the notation of `rows`."""

from __future__ import annotations

import pytest
from tests.planner.rows import Row, base, flags, listing, rows

from mailtwin.model import NOTHING_SEEN, Side
from mailtwin.planner import Base, Direction, Link, Plan, Policy, Removals, plan_messages

TWO_WAY = rows("""
base           | left      | right     | plan                             # case

linked, both there
1=1            | 1         | 1         |                                  # nothing changed
1=1:S          | 1:S       | 1:S       |                                  # nothing changed, with a flag
1=7 2=8        | 1 2       | 7 8       |                                  # numbers differ between the sides
1=a            | 1         | a         |                                  # a name on the right
1=1            | 1:S       | 1         | store right 1 +S =S              # a flag added on the left
1=1            | 1         | 1:S       | store left 1 +S =S               # a flag added on the right
1=1:S          | 1         | 1:S       | store right 1 -S =               # a flag removed on the left
1=1:S          | 1:S       | 1         | store left 1 -S =                # a flag removed on the right
1=1:S          | 1:F       | 1:S       | store right 1 +F -S =F           # added and removed at once
1=1            | 1:S       | 1:F       | store left 1 +F =F               # both changed: one side at a time
1=1:F          | 1:SF      | 1:F       | store right 1 +S =SF             # ... then the other
1=1            | 1:S       | 1:S       | record 1=1 S                     # both made the same change
1=1:S          | 1         | 1         | record 1=1                       # both removed the same flag
1=1:S          | 1:SF      | 1         | store left 1 -S =                # one added, the other removed: left first
1=1            | 1:K       | 1         | store right 1 +K =K              # a keyword

linked, gone
1=1            |           | 1         | remove right 1                   # removed on the left
1=1            | 1         |           | remove left 1                    # removed on the right
1=1            |           |           | forget 1=1                       # removed on both
1=1:S          |           | 1         | remove right 1                   # removal beats a change of flags
1=1            | ?         | 1         |                                  # outside coverage proves nothing
1=1            | ?         |           |                                  # gone on one, unknown on the other
1=1            | ?1-3      | 1         | remove right 1                   # inside coverage proves it
3=3            | ?1-2      | 3         |                                  # just outside coverage
1=a            | 1         | ?         |                                  # names are never covered
1=1            | ?         | ?         |                                  # nothing seen at all
1=1 2=2        | 1         | 1:S       | store left 1 +S =S, forget 2=2   # one of two

store intents
1=1 1=1>+S:S   | 1:S       | 1:S       | record 1=1 S                     # the effect is visible
1=1 1=1>+S:S   | 1         | 1:S       | record 1=1 S                     # recorded first, whatever happened since
1=1 1=1>+S:S   |           | 1:S       | record 1=1 S                     # recorded first, even for a removal
1=1 1=1>+S:S   | 1:S       | 1         | store right 1 +S =S              # not visible: again
1=1 1=1>+S:S   | 1         | 1         | record 1=1                       # not visible and not wanted any more: buried
1=1:S 1=1>-S:  | 1         | 1         | record 1=1                       # a removed flag is visible
1=1:S 1=1>-S:  | 1         | 1:S       | store right 1 -S =               # a removed flag is not visible
1=1 1=1>+S:S   | 1:S       | ?         |                                  # not seen: wait
1=1 1=1>+S:S   | 1:S       |           | remove left 1                    # its message is gone
1=1 1=1>+SF:SF | 1:SF      | 1:S       | store right 1 +F =SF             # half of it happened
1=1 2=2>+S:S   | 1         | 1         |                                  # its link is gone: it speaks of nothing

fresh
               | 1         |           | copy left 1                      # new on the left
               |           | 1:S       | copy right 1 S                   # new on the right
               | 1 2       |           | copy left 1, copy left 2         # in order
               | 1         | ?         |                                  # towards a side not fully seen: wait
               | 1 ?       |           | copy left 1                      # from a side not fully seen: fine
               | 1         | 1         | identify left 1, identify right 1 # both have fresh ones
               | 1@m       | 1         | identify right 1                 # only who is unknown
               | 1@m 2     | 1@m       | identify left 2                  # nothing is copied before
               | 1@m       | 7@m       | adopt 1=7                        # the same message: no transfer
               | 1:SF@m    | 7:SA@m    | adopt 1=7 S                      # ... agreeing on what both have
               | 1@m       | 7@n       | copy left 1, copy right 7        # different ones
               | 1@m 2@n   | 7@m       | adopt 1=7, copy left 2           # one of each
               | 1@m 2@m   | 7@m 8@m   | adopt 1=7, adopt 2=8             # twins, in order
               | 1@m 2@m   | 7@m       | adopt 1=7, copy left 2           # more on one side
               | 1@m       | 7@m~      | copy left 1, copy right 7        # headers alone are no identity
renumbered     | 1@m 2@n   | 7@m~ 8@n  | adopt 1=7, adopt 2=8             # ... but of what was in step before
renumbered     | 1@m 2@m   | 7@m~      | copy left 1, copy left 2, copy right 7    # ... if it is the only one
renumbered     | 1@m       | 7@m~ 8@n ? | copy right 8                    # ... and all was seen
renumbered     | 1@m 2@m~  | 7@m~      | copy left 1, adopt 2=7           # the same comes before that
renumbered 1=1 | 1@o 2@m   | 1@o 7@m~  | adopt 2=7                        # also when some are paired already
1=1            | 1 2       | 1         | copy left 2                      # next to a linked one
               | 1@m       | 7@m ?     | adopt 1=7                        # what was seen may be paired

gone, and come back under another ref
1=1            | 1         | 5         | identify left 1, identify right 5 # is it the same message?
1=1            | 1@m       | 5         | identify right 5                 # only who is unknown
1=1            | 1@m       | 5@m       | relink 1=1 right 5               # it is: no transfer, no removal
1=1            | 5@m       | 1@m       | relink 1=1 left 5                # on the left
1=x            | 1@m       | y@m       | relink 1=x right y               # under another name
1=1            | 1@m       | 5@n       | copy right 5, remove left 1      # it is not: as ever
1=1            | 1@m       | 5@m~      | copy right 5, remove left 1      # headers alone are no identity
1=1:S          | 1@m       | 5:S@m     | relink 1=1 right 5               # the flags agreed on stay, for a later merge
1=5:S          | 1         | 5:S       | store right 5 -S =               # ... which is this one
1=1 2=2        | 1 2@m     | 1 5@m     | relink 2=2 right 5               # next to one that stayed
1=1 2=2        | 1@n 2@m   | 5@m       | relink 2=2 right 5, remove left 1 # next to one that did not come back
1=1            | 1         | 1 5       | copy right 5                     # nothing went: nobody is asked
1=1 2=2        | 1 2       | 1         | remove left 2                    # nothing came: nobody is asked
1=1 2=2        | 1 2 7     | 2         | copy left 7, remove left 1       # ... nor when it came on the other side
1=1            |           | 5         | copy right 5, forget 1=1         # no survivor: new mail
1=1            | 1@m       | 5@m ?     | copy right 5                     # not proven gone: nobody is asked
1=1            | 1@m       | 5@m ?1-9  | relink 1=1 right 5               # proven gone
1=1            | ?         | 5@m       |                                  # its twin was not seen
1=1 2=2        | 1@m 2@m   | 8@m 9@m   | relink 1=1 right 8, relink 2=2 right 9 # equal ones in the order of their refs
1=2 2=1        | 1@m 2@m   | 8@m 9@m   | relink 1=2 right 9, relink 2=1 right 8 # ... of those that went
1=1 2=2        | 1@m 2@m   | 8@m       | relink 1=1 right 8, remove left 2 # ... one did not come back
1=1            | 1@m       | 8@m 9@m   | relink 1=1 right 8, copy right 9 # ... one more came
1=1 2=2        | 1@m 9@n   | 2@n 8@m   | relink 1=1 right 8, relink 2=2 left 9 # one on each side
1=1            | 1@m 2@m   | 5@m       | relink 1=1 right 5, copy left 2  # the agreement comes before a new twin
1=1            | 1@m 2     | 5@n       | identify left 2, remove left 1   # then as ever
1=1 1=1>+S:S   | 1:S@m     | 5@m       | relink 1=1 right 5 with store    # the change of flags goes along
1=5 1=5>+S:S   | 1:S       | 5:S       | record 1=5 S                     # ... and shows in it
1=1 1=1<+S:S   | 1:S@m     | 5@m       | relink 1=1 right 5 with store    # also where it is visible already
1=1 1=1<+S:S   | 1:S@m     | 5@n       | copy right 5, record 1=1 S       # if it did not come back that is recorded
1>5:S@m        | 2@m       | 5@m       | adopt 2=5 S                      # the source of a copy came back
1>5:S@m        | 2@n       | 5@m       | copy left 2, remove right 5      # ... another one
1>5@m!         | 2@m       | 5@m~      | adopt 2=5                        # ... whose copy was rendered anew: wh
1>x@m          | 2@m       | x         | adopt 2=x                        # ... of a copy with a known name
1=1 5<5@m      | 1@m       | 5@m ^9    | settle right 5, remove left 1    # it is being copied already
1=1 ~1>5@m     | 1@m       | 5@m       | relink 1=1 right 5               # its twin, rather than an extra copy
1=1 ~1>5@m     | 1@m       | 5@m 6@m   | hold left 1/6, relink 1=1 right 5 # ... that is the next one
1=1 ~1>5@m/5   | 1@m       | 5@m       | remove left 1, unresolved left 1 # what is held is a person's business
1=1 ~1>5@m/5k  | 1@m       | 5@m       | relink 1=1 right 5               # ... until it is mail like any other
1=1            | 1@m       | 5@m v2    | reset right 1->2                 # another numbering proves nothing

removals begun
1=1 -<1        |           | 1         | remove right 1                   # not seen to end: again
1=1 -<1        |           |           | forget 1=1                       # it took effect
1=1 -<1        | 1         |           | forget 1=1                       # ours, and it is back: copied anew
1=1 -<1v2      | 1         |           | remove left 1                    # of another numbering: not ours
1=1 -2>        | 1         |           | remove left 1                    # of another message
1=1 -<1        | 1         | 1         |                                  # back before it took effect
1=x -<x        | 1         |           | forget 1=x                       # a name
1=1 -1>        | 1         |           | remove left 1                    # that of the survivor: again
1=1 -1>        | 1@m       | 5@m       | relink 1=1 right 5               # the survivor is a twin until it is gone
1=5 -1>        |           | 5         | forget 1=5                       # ... and then its twin stays
1=1 -<1        | 1@m       | 5@m       | relink 1=1 right 5               # a new twin is better than none
1=1 -<1        | ?         |           |                                  # not seen: wait
1>5@m -1>      |           | 5@m       | abandon left 1                   # the source of a copy went by our doing
1=1 1=1>+S:S -1> |         | 1:S       | record 1=1 S                     # a change of flags is recorded first

equal messages, some on their way
1=1 2>2@m      | 1@m 2     | 2@m       | settle left 2                    # which of the two is there?
1=1 2>2@m      | 1 2       | 2@m       | identify left 1, remove left 1   # ... if they are equal
1=1 2>2@m?     | 1@m 2     | 2@m       | unresolved left 2                # nobody can tell: nothing is removed or sent
1=1 2>2@m?     | 1@m 2     | 2@m 3@m   | relink 1=1 right 3, adopt 2=2    # both are
1=1 2>2@m?     | 1@m 2     |           | abandon left 2 ~, remove left 1  # none is
1=1 2>2@m?     | 1@n 2     | 2@m       | adopt 2=2, remove left 1         # they are not equal
1=1 2>2@m!!    | 1@m 2     | 2@m       | adopt 2=2, remove left 1         # the copy certainly exists
1=1 2>2@m?     | 1@m       | 2@m       | abandon left 2 ~                 # the source is gone too: then it is the twin
1=1 2>2@m? -<1 | 1@m 2     | 2@m       | adopt 2=2, forget 1=1            # the twin went by our doing: no claim
1=1 2>y@m      | 1@m 2     | y@m       | adopt 2=y, remove left 1         # a known name leaves no doubt

copy intents
1>5@m          | 1         | 5         | identify right 5                 # who arrived?
1>5@m          | 1         | 4 5@m     | adopt 1=5, copy right 4          # below the floor it is another
1>5:S@m        | 1:F       | 5:A@m     | adopt 1=5 S                      # with the flags that were sent
1>5:SK@m       | 1         | 5:K@m     | adopt 1=5 SK                     # ... and with a keyword that arrived
1>5:SK@m       | 1:K       | 5:S@m     | adopt 1=5 S                      # ... not with one that did not
5<1@m          | 5@m       | 1         | adopt 5=1                        # from right to left
1>5@m          |           | 5@m       | remove right 5                   # its source was removed meanwhile
1>5@m          | ?         | 5@m       |                                  # its source was not seen: wait
1>5@m          | 1         | ?         |                                  # the destination was not seen: wait
1>5@m          | 1         | 5@m ?     |                                  # ... and what may be the copy is not new mail
1>5@m          | 1         | 4 5 ?     | copy right 4                     # ... but what is below the floor is
1>5@m          | 1         |           | settle left 1                    # not found, and may still arrive
1>5@m!         | 1         |           | abandon left 1                   # not found, and cannot arrive any more
1>5@m?         | 1         |           | abandon left 1 ~                 # waited for and not found: remembered
1>5@m?         | 1         | ^5        | abandon left 1 ~                 # ... and nothing came since
1>5@m?         | 1         | ^6        | unresolved left 1                # one came and went: it may have been this one
1>5@m? 2>5@n?  | 1 2       | 6@n ^7    | adopt 2=6, unresolved left 1     # ... and the other is there
1>5@m? 2>5@n?  | 1 2       | ^6        | abandon left 2 ~, unresolved left 1 # only the first can have been
1>5@m? 9=5     | 1 9       | ^6        | abandon left 1 ~, remove left 9  # what went was another one
1>5@m! 2>5@n   | 1 2       | ^6        | abandon left 1, settle left 2    # an answer was read: no doubt
1>5@m?         | 1         | 5@m       | adopt 1=5                        # waited for, and it came
1>5@m?         |           |           | abandon left 1 ~                 # waited for, its source gone: remembered
1>5@m!!        | 1         |           | unresolved left 1                # accepted and not found: never sent again
1>5@m!!        |           |           | abandon left 1                   # ... and its source is gone: no one's concern
1>5@m!         | 1         | 5@n       | abandon left 1, copy right 5     # another one arrived
1>5@m!v2       | 1         | 5@m       | abandon left 1, copy right 5     # begun in another numbering
1>5@m 1=1      | 1         | 1 5@m     | abandon left 1 ~, copy right 5     # linked since
1>5@m 2>5@m    | 1 2       | 5@m 6@m   | adopt 1=5, adopt 2=6             # twins, in order
1>5@m! 2>5@m!! | 1 2       | 5@m       | abandon left 1, adopt 2=5        # the accepted one has the first claim
1>6@m 2>5@m    | 1 2       | 5@m 6@m   | adopt 1=6, adopt 2=5             # no floor is left without its match
1>5@m          | 1         | 5@m~      | settle left 1                    # a look-alike: the true one may still come
1>5@m!         | 1         | 5@m~      | adopt 1=5                        # rendered anew by the server
1>5@m!         | 1         | 5@m~ 6@m~ | unresolved left 1                # too many look-alikes: nobody can tell
1>5!           | 1@m       | 5@m       | adopt 1=5                        # the identity comes from the source
1>5!           | 1         | 5@m       | identify left 1                  # ... when that is known
1>5!           | ?         | 5@m       | abandon left 1                   # ... and never will be without a source
1>5@m 7<3@m    | 1 7@m     | 3 5@m     | adopt 1=5, adopt 7=3             # one each way
1>1@m! 1<1@m!  | 1         | 1         | abandon left 1, abandon right 1  # one being copied is nobody's copy
1>x@m          | 1         | x         | adopt 1=x                        # a known name needs no identity
1>x@m          | 1         | y         | abandon left 1, copy right y     # not under its name: nobody else makes it
1>x@m          |           | x         | remove right x                   # a known name, its source gone
1>x@m          | 1         | x ?       |                                  # a known name, not fully seen: wait

stragglers
1=1 ~1>5@m     | 1         | 1         |                                  # nothing arrived
1=1 ~1>5@m     | 1         | 1 5       | identify right 5                 # who is that?
1=1 ~1>5@m     | 1         | 1 5@n     | copy right 5                     # new mail
1=1 ~1>5@m     | 1         | 1 4@m     | copy right 4                     # below its floor: new mail
1=1 ~1>5@m     | 1         | 1 5@m     | hold left 1/5                    # it was sent again since: one too many
1=1 ~1>5@m     | 1         | 1 5@m~    | hold left 1/5                    # ... rendered anew by the server
1=1 ~1>5@m     | 1         | 1 5@m ?   | hold left 1/5                    # ... in whatever listing
1=1 ~1>5@m     | 1         | 1 5@m 6@m | hold left 1/5, copy right 6      # ... one only
1=1 ~1>5@m ~1>5@m | 1      | 1 5@m 6@m | hold left 1/5, hold left 1/6     # ... unless it was sent more than twice
~1>5@m         |           | 5@m       | hold left 1/5                    # its message was removed since
~1>5@m         | 1@m       | 5@m       | adopt 1=5                        # its message was not sent again yet
~1>5@m         | 1         | 5@m       | identify left 1                  # ... if it is that message
~1>5@m         | 1@n       | 5@m       | hold left 1/5, copy left 1       # ... it is not
~1>5@m 1>6@m   | 1         | 5@m       | settle left 1, hold left 1/5     # it is on its way again
~1>5@m 1>5@m   | 1         | 5@m       | adopt 1=5                        # ... and this may be either
~1>5@m/5       | 1         | 5         | copy left 1, unresolved left 1   # held until a person decides
~1>5@m/5       | 1         |           | abandon left 1, copy left 1      # gone: decided
~1>5@m/5       |           | ?         |                                  # not seen
~1>5@m/5x      |           | 5         | remove right 5                   # not wanted
~1>5@m/5k      |           | 5@m       | copy right 5                     # wanted: mail like any other
~1>5@m/5k ~1>5@m |         | 5@m 6@m   | hold left 1/6, copy right 5      # ... and not another straggler
~1>5@m/5k 9=5  | 9         | 5         | abandon left 1                   # ... as it is now
~1>5@m!v2      |           | 3@m       | hold left 1/3                    # in another numbering it may have any number
~1>5@m!v2/5     |           | 3@m 5@n   | hold left 1/3, copy right 5      # ... and is looked for again

numbering
1=1            | v2        | 1         | reset left 1->2                  # only a new beginning, no removals
1=1            | 1 v2      | 1 v3      | reset left 1->2, reset right 1->3 # on both sides
1=1 2>5@m      | 2 v2      | 1         | settle left 2                    # nothing may arrive after it
1=1 2>5@m!     | 2 v2      | 1         | reset left 1->2                  # nothing can arrive any more
1=1 2>5@m?     | 2 v2      | 1         | abandon left 2 ~                 # it may arrive all the same: remembered
1=1            | v ?       | 1         |                                  # broke off before it was told
""")[1:]

RIGHT_HOLDS_ONLY_S = rows("""
1=1            | 1:F       | 1         |                                  # never stored where it cannot be held
1=1:F          | 1:F       | 1         |                                  # never taken for removed there
1=1            | 1:SF      | 1         | store right 1 +S =S              # the rest is stored, and agreed on
1=1            | 1:F       | 1:S       | store left 1 +S =S               # changes come back without loss
1=1            | 1         | 1:K       |                                  # what it shows all the same does not count
               | 1:SF@m    | 7:S@m     | adopt 1=7 S                      # what only one can hold is not agreed on
1>5:SF@m       | 1:SF      | 5:S@m     | adopt 1=5 S                      # ... nor when it was sent
1=1 1=1>+SF:S  | 1:SF      | 1:S       | record 1=1 S                     # visible as far as it can be
""")

LEFT_TO_RIGHT = rows("""
1=1            | 1:S       | 1         | store right 1 +S =S              # the source's change
1=1            | 1         | 1:S       | store right 1 -S =               # a change on the destination is undone
1=1            | 1:F       | 1:S       | store right 1 +F -S =F           # both changed: the source wins
1=1            | 1:S       | 1:S       | record 1=1 S                     # the same on both
1=1            |           | 1         | remove right 1                   # removed on the source
1=1            | 1         |           | forget 1=1                       # removed on the destination: copied again
               | 1         |           | copy left 1                      # new on the source
               |           | 1         |                                  # new on the destination: left alone
               | 1         | 1         | identify left 1, identify right 1 # it may be there already
               | 1@m       | 1@n       | copy left 1                      # it is not
1=1            | 1         | 1 2       |                                  # nothing to copy: nothing to identify
1=1            | 1@m       | 5@m       | relink 1=1 right 5               # came back on the destination
1=1            | 5@m       | 1@m       | relink 1=1 left 5                # came back on the source
1=1            | 1@m       | 5@n       | forget 1=1                       # another one on the destination
1=1 -<1        | 1@m       | 5@m       | relink 1=1 right 5               # it was being removed
1=1 -<1        | 1         |           | forget 1=1                       # and is gone: copied again
5<1@m          | 5@m       |           | abandon right 1                  # from before it was one-way: not taken back
""")

KEEP = rows("""
1=1            |           | 1         |                                  # kept
1=1            |           | 1:S       |                                  # kept, whatever its flags
1=1            |           |           | forget 1=1                       # gone on both
1>5:S@m        |           | 5@m       | adopt 1=5 S                      # a copy whose source is gone is kept too
1=1            | 5@m       | 1@m       | relink 1=1 left 5                # it came back: nothing is kept twice
1=1            | 5@n       | 1@m       | copy left 5                      # another one came
1=1 -1>        |           | 1         | forget 1=1                       # ours, from before: copied again
1>5:S@m        | 2@m       | 5@m       | adopt 2=5 S                      # the source of a copy came back
""")

RESTORE = rows("""
1=1            |           | 1         | forget 1=1                       # to be copied anew
               |           | 1         | copy right 1                     # ... in the next round
1>5@m          |           | 5@m       | abandon left 1                   # a copy whose source is gone goes back
1=1            | 5@m       | 1@m       | relink 1=1 left 5                # it came back by itself
1=1 -<1        | 5@m       | 1@m       | relink 1=1 left 5                # ... while it was being removed
""")

FLAGS_BEAT_REMOVAL = rows("""
1=1            |           | 1         | remove right 1                   # nothing changed: removed
1=1            |           | 1:S       | forget 1=1                       # changed: to be copied back
1=1 1=1>+S:S   |           | 1:S       | record 1=1 S                     # our own change is no one's wish
1>5:S@m        |           | 5:S@m     | remove right 5                   # a copy as it was sent
1>5:S@m        |           | 5:F@m     | abandon left 1                   # a copy that was changed
1=1            | 5@m       | 1:S@m     | relink 1=1 left 5                # came back: nothing was removed
1=1 -<1        | 5@m       | 1:S@m     | relink 1=1 left 5                # ... while it was being removed
1=1 -<1        |           | 1:S       | forget 1=1                       # the change is a wish, whatever was begun
1=1 -1>        |           | 1:S       | forget 1=1                       # and when ours takes effect, it is not obeyed
""")

ASIDE = frozenset({(Side.LEFT, 1), (Side.RIGHT, 1)})
LEFT_1_AND_RIGHT_1_ASIDE = rows("""
               | 1         |           |                                  # not copied
               | 1 2       |           | copy left 2                      # the others are
               | 1@m       | 1@m       | adopt 1=1                        # somebody's twin all the same
               | 1@m 2@n   | 1@m       | adopt 1=1, copy left 2           # and not in the way of the others
1=1            | 1:S       | 1         | store right 1 +S =S              # a link goes on
1>5@m          | 1         | 5@m       | adopt 1=5                        # what was begun is brought to its end
9=9            | 1@m       | 9@m       | relink 9=9 left 1                # somebody's twin again
9=9 -<9        | 1@m       | 9@m       | relink 9=9 left 1                # ... while that was being removed
""")

NAMELESS = rows("""
               | 1@?1      |           |                                  # it cannot be read, and is not copied
               | 1         | 1@?1      | identify left 1                  # its twin may be there
               | 1@m       | 1@?1      | wait left 1                      # of its size: nobody can tell
               | 1@m       | 1@?2      | copy left 1                      # of another size: it is not there
               | 1@m       | 1@?       | wait left 1                      # of any size
               | 1@m 2@n~  | 1@?1      | copy left 2, wait left 1         # only what may be there waits
1=1            | 1 2@m     | 1@?       | copy left 2                      # what is linked is nobody's twin
               | 1@m       | 1@m 2@?   | adopt 1=1                        # the twin is found, and nothing waits
1>1@m!         | 1         | 1         | identify right 1                 # this may be the copy
1>1@m!         | 1         | 1@?1      | unresolved left 1                # and cannot be read
1=1            | 1@?1      | 5         | identify right 5                 # it may have come back
1=1            | 1@?1      | 5@m       | remove left 1, wait right 5      # nobody can tell: nothing is doubled
1=1            | 1@?2      | 5@m       | copy right 5, remove left 1      # of another size: it did not come back
1=1            | 1         | 5@?1      | remove left 1                    # what came cannot be read
1=1            | 1         | 5@?1 6    | identify left 1, identify right 6 # ... the other can
~1>1@m         | 1@?1      | 1@m       | wait right 1                     # no extra copy: it may be the one
""")


def _id(row: Row) -> str:
    return row.name


@pytest.mark.parametrize("row", TWO_WAY, ids=_id)
def test_two_way(row: Row) -> None:
    assert row.planned(Policy()) == row.plan


@pytest.mark.parametrize("row", RIGHT_HOLDS_ONLY_S, ids=_id)
def test_a_side_that_cannot_hold_all_flags(row: Row) -> None:
    assert row.planned(Policy(), right_holds="S") == row.plan


@pytest.mark.parametrize("row", LEFT_TO_RIGHT, ids=_id)
def test_one_way(row: Row) -> None:
    assert row.planned(Policy(direction=Direction.LEFT_TO_RIGHT)) == row.plan


@pytest.mark.parametrize("row", KEEP, ids=_id)
def test_removals_are_not_passed_on(row: Row) -> None:
    assert row.planned(Policy(removals=Removals.KEEP)) == row.plan


@pytest.mark.parametrize("row", RESTORE, ids=_id)
def test_removals_are_undone(row: Row) -> None:
    assert row.planned(Policy(removals=Removals.RESTORE)) == row.plan


@pytest.mark.parametrize("row", FLAGS_BEAT_REMOVAL, ids=_id)
def test_changes_of_flags_beat_removals(row: Row) -> None:
    assert row.planned(Policy(flag_change_beats_removal=True)) == row.plan


@pytest.mark.parametrize("row", LEFT_1_AND_RIGHT_1_ASIDE, ids=_id)
def test_messages_set_aside(row: Row) -> None:
    assert row.planned(Policy(), aside=ASIDE) == row.plan


@pytest.mark.parametrize("row", NAMELESS, ids=_id)
def test_messages_that_nobody_can_identify(row: Row) -> None:
    assert row.planned(Policy()) == row.plan


def test_what_does_not_go_anywhere_does_not_wait_either() -> None:
    row = Row("", "1@?1", "1@m", "", "")
    assert row.planned(Policy(direction=Direction.LEFT_TO_RIGHT)) == ""


def test_one_way_the_other_way_round() -> None:
    policy = Policy(direction=Direction.RIGHT_TO_LEFT)
    assert Row("", "1", "", "", "").planned(policy) == ""
    assert Row("", "", "1", "", "").planned(policy) == "copy right 1"
    assert Row("1=1", "1:S", "1", "", "").planned(policy) == "store left 1 -S ="


def test_nothing_follows_from_having_seen_nothing() -> None:
    known = Base([Link(1, 1, flags("S"))], "1", "1")
    for left, right in (
        (NOTHING_SEEN, listing("1")),
        (listing("1"), NOTHING_SEEN),
        (NOTHING_SEEN, NOTHING_SEEN),
    ):
        assert plan_messages(known, left, right, Policy()) == Plan()


def test_a_mailbox_that_is_new_on_both_sides_is_no_reset() -> None:
    assert plan_messages(Base(), listing("v7"), listing("v8"), Policy()) == Plan()


def test_every_operation_says_why() -> None:
    for row in [*TWO_WAY, *LEFT_TO_RIGHT]:
        for operation in plan_messages(base(row.base), listing(row.left), listing(row.right), Policy()):
            assert 3 < len(operation.why) < 100
