"""A model checker for the planner: every order in which things can happen, in a very small world.

The theory. Two mailboxes, one message or two, two users, one executor, and an enemy. The state of this world is a value
(`world.World`): what both mailboxes hold, what is durable (agreements and intents), what is still in the air (a command
whose connection is gone and which the server may execute all the same), and what only the running process knows (the
phase being executed). From each state a few moves lead to others:

* a user appends or removes a message, moves it out and (at once or later) back, or toggles a flag, on a side that this
  scenario gives to users;
* the executor observes both sides and asks the planner, or takes one step of the protocol below;
* the enemy crashes the process, cuts a connection, lets a listing break off, lets what is in the air land, reorders a
  phase (its order is free), or gives a mailbox a new UIDVALIDITY.

Users and enemy have a budget, so the states are finitely many, and the explorer visits all of them, breadth first: the
first violation it meets has the shortest story. After *every* state it demands (`invariants`):

* nothing is lost that no user removed, nothing is there more often than users put it there;
* an agreement links a message with its twin, not with another;
* settling (no more users, no more enemy, observe and execute until the plan is empty) comes to an end, and both sides
  are equal then, except for copies that are reported as unresolved;
* what its owner removed is gone then, and each user's last word about flags stands;
* a side that nobody but its user may change was changed by nobody else.

The protocol that is modelled is the engine's:

* Copy: the source's bytes are staged; intents of the whole batch durable (with the floor that was observed, or the name
  chosen); effects one by one, whose answers may be lost, or say OK without a UID; then links made and intents dropped
  in one commit. What was sent may land any time later, until `Settle`, after which nothing lands any more.
* StoreFlags: intents durable (each replaces an older one for its link); effects. The agreement follows when the
  effect is seen. After a crash the process looks only once no STORE of its predecessor can take effect any more.
* Remove: intents durable, for the whole phase; the effects, any of which may land later when the process dies. The
  agreement is dropped when both sides were seen to lack the message, the intent with it, not by a new UIDVALIDITY of
  the other side. (That an intent ends a day or two later in any case is left out.)
* Record, Adopt, Relink, Forget, Abandon, Reset: one commit each; the next plan may be made on the same observation.

`mistakes` holds what a designer might have done instead. Each must be caught, or the checker proves nothing.
"""
