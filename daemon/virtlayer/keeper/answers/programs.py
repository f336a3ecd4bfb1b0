# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about programs; the other end is ``service.keeper.programs``."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack

from virtlayer.cancellation import to_completion
from virtlayer.keeper.answers.answer import Turn
from virtlayer.keeper.answers.holdings import Program
from virtlayer.keeper.answers.staging import flush_staged
from virtlayer.keeper.programs import StartedProgram, ended, running
from virtlayer.protocol import calls
from virtlayer.protocol.answering import answer
from virtlayer.protocol.programs import Ended, StartProgram


async def _start(turn: Turn, request: StartProgram) -> calls.Started:
    staging = None if request.staging is None else turn.holdings.staging(request.staging)
    with turn.holdings.starting_program(staging):
        starting: AbstractAsyncContextManager[StartedProgram]
        if staging is None:
            starting = running(request, turn.descriptors, None)
        else:
            starting = staging.place.running(request, turn.descriptors)
        async with AsyncExitStack() as life:
            program = await life.enter_async_context(starting)
            turn.reply_descriptors.append(program.open_pidfd())
            number = turn.holdings.add_program(Program(program, life.pop_all()), staging)
    return calls.Started(number, program.name)


async def _create_overlay(turn: Turn, request: calls.CreateOverlay) -> Ended:
    staging = turn.holdings.staging(request.staging)
    # As with any program: it is counted, delays flushing of the file, and ends with the directory.
    with turn.holdings.starting_program(staging):
        made = await staging.place.create_overlay(request.file, request.size, request.backing)
    if made.status == 0 and staging.place.flushes_overlays:
        await flush_staged(staging, request.file)
    return made


async def _wait(turn: Turn, request: calls.KnownProgram) -> Ended:
    program = turn.holdings.program(request.program).running
    await program.wait()
    return ended(program)


async def _end(turn: Turn, request: calls.EndProgram) -> Ended:
    program = turn.holdings.program(request.program).running
    if request.kill:
        await to_completion(turn.holdings.end_program(request.program))
    else:
        program.terminate()
    return ended(program)


ANSWERS = (
    answer(calls.CREATE_OVERLAY, _create_overlay),
    answer(calls.START_PROGRAM, _start, takes_descriptors=True),
    answer(calls.WAIT_PROGRAM, _wait),
    answer(calls.END_PROGRAM, _end),
)
