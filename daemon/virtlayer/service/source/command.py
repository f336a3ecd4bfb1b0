# SPDX-License-Identifier: LGPL-2.1-or-later
"""skopeo for one source: its flags, its temporary files, its commands, its proxies."""

import asyncio
import contextlib
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import ImageNotFound, RegistryUnavailable, VirtlayerError
from virtlayer.programs import ProgramFailed, running
from virtlayer.service.source.access import Access, skopeo_flags
from virtlayer.service.source.caller_source import RoomShare, copied
from virtlayer.service.source.failures import failure
from virtlayer.service.source.host_certificates import check_host_certificates
from virtlayer.service.source.logins import Logins, logins_for, user_of
from virtlayer.service.source.obtained import Obtained, how_obtained
from virtlayer.service.source.passed_descriptor import secrets_deadline
from virtlayer.service.source.patience import Progress, patiently
from virtlayer.service.source.platform import Platform
from virtlayer.service.source.policy import (
    PolicyScope,
    SignaturePolicy,
    policy_files,
    policy_scope,
)
from virtlayer.service.source.proxy import Proxy, started_proxy
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.registries import Route, route_of
from virtlayer.service.source.scratch import scratch_directory
from virtlayer.service.source.skopeo_sandbox import confinement
from virtlayer.service.source.unpacking_limit import limited
from virtlayer.service.source.workspace import Workspace
from virtlayer.sizes import MIB

_OUTPUT_LIMIT = 8 * MIB
"""Bytes of a manifest that skopeo may print; twice what is parsed."""


@dataclass(frozen=True, slots=True)
class Skopeo:
    """The settings that all skopeo commands for one source share."""

    reference: Reference
    """The reference that the caller gave."""
    target: Reference
    """The reference that skopeo opens."""
    scratch: Path
    """A directory for the temporary files of this source alone."""
    share: RoomShare
    """The disk space that the temporary files may use."""
    patience: float
    obtained: Obtained
    user: str | None
    """The owner of the login for the registry; None for no login."""
    policy: PolicyScope
    accepted: bool
    """Whether the image was accepted already, and this is a conversion of it."""
    launcher: tuple[str | Path, ...]
    """The command that runs skopeo; see ``running``."""
    global_flags: tuple[str, ...]
    source_flags: tuple[str, ...]

    @contextlib.asynccontextmanager
    async def proxy(self, *, policy: bool = True) -> AsyncIterator[Proxy]:
        """Run a proxy.

        Args:
            policy: Whether the proxy checks policy.json.
        """
        policy = policy and not self.accepted
        flags = self.global_flags if policy else (*self.global_flags, "--insecure-policy")
        async with contextlib.AsyncExitStack() as life:
            starting = started_proxy(
                flags,
                self.source_flags,
                launcher=self.launcher,
                temporary=self.scratch,
            )
            async with self.waiting("start of skopeo"):
                proxy = await life.enter_async_context(starting)
            yield proxy

    async def raw_manifest(self, digest: str | None = None) -> bytes:
        """Return the unchanged manifest or index that the reference refers to.

        Args:
            digest: The digest of the manifest in a registry; None for that of the reference.

        Raises:
            VirtlayerError: skopeo failed; see ``failure``.
        """
        command = ["skopeo", *self.global_flags, "inspect", "--raw", *self.source_flags]
        return await self._run(
            [*command, self._pinned(digest).skopeo_name],
            "manifest",
            moves_bytes=self.reference.local_path is not None,
        )

    async def manifest_digest(self, manifest: bytes) -> str:
        """Return the digest of a manifest; Docker's schema 1 has its own rules for digests."""
        path = self.scratch / "manifest"
        path.write_bytes(manifest)
        command: list[str | Path] = ["skopeo", "manifest-digest", path]
        return (await self._run(command, "digest")).decode(errors="replace").strip()

    async def copy_to_layout(self, digest: str) -> Reference:
        """Copy the image to an OCI layout in the temporary files, which converts any format to OCI.

        Args:
            digest: The digest of the manifest.
        """
        layout = Reference("oci", str(self.scratch / "layout"), "converted", None)
        flags = [flag.replace("--", "--src-", 1) for flag in self.source_flags]
        command = ["skopeo", *self.global_flags, "copy", "--quiet", "--format=oci", *flags]
        await self._run(
            [*command, self._pinned(digest).skopeo_name, layout.skopeo_name],
            "conversion",
            moves_bytes=True,
        )
        return layout

    def _pinned(self, digest: str | None) -> Reference:
        return self.target if digest is None else self.target.pinned(digest)

    def unpacking(self, proxy: Proxy) -> Progress | None:
        """Return a progress counter for a proxy that may have to unpack an archive first."""
        return None if self.reference.local_path is None else proxy.bytes_moved

    @contextlib.asynccontextmanager
    async def waiting(self, what: str, progress: Progress | None = None) -> AsyncIterator[None]:
        """Give up when there is no progress.

        Args:
            what: The awaited result, for the error message.
            progress: A progress counter, where skopeo may unpack something; None where an
                answer must come in time.

        Raises:
            NoSpace: There is no room for what skopeo unpacks.
            RegistryUnavailable: The registry did not answer in time.
            ImageNotFound: The local source did not answer in time.
        """
        try:
            async with contextlib.AsyncExitStack() as limits:
                await limits.enter_async_context(patiently(self.patience, progress))
                if progress is not None:
                    await limits.enter_async_context(limited(self.scratch, self.share))
                yield
        except TimeoutError:
            waited = f"for {self.patience:.0f} seconds ({what})"
            if self.reference.local_path is not None:
                raise ImageNotFound(
                    f"{self.reference} cannot be read: there was no progress {waited}. Check that "
                    "it contains no FIFO, and that its file system answers."
                ) from None
            raise RegistryUnavailable(
                f"{self.reference}: the registry sent nothing {waited}. Try again later."
            ) from None

    def failure(self, text: str) -> VirtlayerError:
        """Return the error for an error message of skopeo."""
        if self.target.local_path is not None:
            # A caller does not know the copy of an archive, or the files that skopeo unpacks.
            text = text.replace(self.target.repository, self.reference.repository)
            text = text.replace(f"{self.scratch}/", "")
        return failure(self.reference, text, self.user)

    async def _run(
        self,
        command: list[str | Path],
        what: str,
        *,
        moves_bytes: bool = False,
    ) -> bytes:
        try:
            async with (
                running(
                    command,
                    stdout=PIPE,
                    env={"TMPDIR": str(self.scratch)},
                    launcher=self.launcher,
                ) as program,
                self.waiting(what, program.bytes_moved if moves_bytes else None),
            ):
                return await program.output(_OUTPUT_LIMIT)
        except ProgramFailed as error:
            raise self.failure(error.stderr or str(error)) from error


@dataclass(frozen=True, slots=True)
class _HostConfiguration:
    """The configuration of this host for a source.

    Attributes:
        route: The registries that registries.conf may select for the reference.
        policy: The scope of the signature policy.
        policy_files: The policy, and the keys that it names.
    """

    route: Route
    policy: PolicyScope
    policy_files: tuple[Path, ...]


def _host_configuration(
    reference: Reference, target: Reference, access: Access, policy: SignaturePolicy
) -> _HostConfiguration:
    """Read the configuration in one thread, because each switch to a thread takes time."""
    route = Route(frozenset(), insecure=False)
    if reference.domain is not None:
        if not access.has_certificates:
            check_host_certificates(reference.domain)
        route = route_of(reference)
    return _HostConfiguration(route, policy_scope(policy, target, reference), policy_files(policy))


@contextlib.asynccontextmanager
async def skopeo_for(
    reference: Reference,
    access: Access,
    platform: Platform | None,
    workspace: Workspace,
) -> AsyncIterator[Skopeo]:
    """Prepare skopeo for one source; its authfile and temporary files are deleted on exit.

    Args:
        reference: The source.
        access: How to reach it.
        platform: Which image of an index; None for this host's.
        workspace: The directories for its files.

    Raises:
        InvalidArgument: Files or descriptors of ``access`` are invalid.
        PolicyRejected: The signature policy cannot be used, or accepts unsigned images although
            signatures are required.
        RegistryUnavailable: Certificates of this host cannot be read.
    """
    access = await access.settled(secrets_deadline())
    async with contextlib.AsyncExitStack() as life:
        share = life.enter_context(workspace.room.share())
        target = reference
        if access.source_fd is not None:
            copy = copied(reference, access.source_fd, workspace.scratch, share)
            target = await life.enter_async_context(copy)
        policy = workspace.policy
        host = await asyncio.to_thread(_host_configuration, reference, target, access, policy)
        logins: Logins = {}
        if reference.domain is not None:
            logins = logins_for(access.logins_at(reference.domain), host.route.registries)
        flags = skopeo_flags(access, logins, reference, workspace.runtime)
        source_flags = await life.enter_async_context(flags)
        scratch = await life.enter_async_context(scratch_directory(workspace.scratch))
        reads = [*host.policy_files]
        reads += [Path(flag.partition("=")[2]) for flag in source_flags if "=/" in flag]
        if (path := target.local_path) is not None:
            reads.append(path)
        yield Skopeo(
            reference=reference,
            target=target,
            scratch=scratch,
            share=share,
            patience=workspace.patience,
            obtained=how_obtained(reference, access, logins, insecure=host.route.insecure),
            user=user_of(logins),
            policy=host.policy,
            accepted=False,
            launcher=confinement(reads, [scratch], workspace.room.limit),
            global_flags=(
                f"--policy={policy.file}",
                f"--tmpdir={scratch}",
                *_platform_flags(platform),
            ),
            source_flags=source_flags,
        )


def _platform_flags(platform: Platform | None) -> tuple[str, ...]:
    if platform is None:
        return ()
    flags = (f"--override-os={platform.os}", f"--override-arch={platform.architecture}")
    return (*flags, f"--override-variant={platform.variant}") if platform.variant else flags
