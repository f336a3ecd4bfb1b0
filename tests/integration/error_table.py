# SPDX-License-Identifier: LGPL-2.1-or-later
"""Command lines that fail, with their exit statuses and the exact texts of their errors.

``{registry}`` and ``{private}`` are registries (the second has TLS and wants a password),
``{files}`` is a directory of the caller's, ``{pools}`` that of the pools, ``{uri}`` libvirt's.
"""

from collections.abc import Sequence

from tests.support.images import file, layer
from virtlayer.client.exits import Exit
from virtlayer.sizes import MIB

LARGE_LAYER = layer(file("big", b"big\n" * (20 * MIB)))

PLAIN = "--tls-verify=false"
SOURCE = "docker://{registry}/small:1"
SECRET = "docker://{private}/secret:1"
CERTIFICATES = "--cert-dir={files}/certs"
NO_POOL = 'No storage pool "nowhere" at {uri}. Pools: asleep, closed, default, lost.'
NO_PLACE = (
    'The directory of the pool "lost" ({pools}/lost) is missing. Restore it, then restart the pool.'
)
NO_JOB = 'No job 4000000000. See "virtlayer jobs".'
NO_MACHINE = 'virtlayer has not made a machine "none". "virtlayer ps --all" lists its machines.'
NO_START = "The pool \"asleep\" is not active. Start it: virsh --connect '{uri}' pool-start asleep"

USAGE: Sequence[tuple[list[str], str]] = [
    (["pul"], 'Unknown command "pul". Did you mean "pull"?\nSee "virtlayer --help".'),
    (
        ["pull"],
        'The following arguments are required: SOURCE.\nSee "virtlayer pull --help".',
    ),
    (["pull", "x", "--quiet"], 'Unknown option --quiet.\nSee "virtlayer pull --help".'),
    (
        ["pull", "x", "--size=63M"],
        (
            "--size: Invalid size: 63 MiB. A virtual size is a multiple of 1 MiB from 64 MiB to "
            '63 TiB.\nSee "virtlayer pull --help".'
        ),
    ),
    (["pull", SOURCE, PLAIN, "--hostname=a"], "--hostname requires --volume."),
    (
        ["pull", SOURCE, PLAIN, "--format=disk", "--hostname=a"],
        (
            "With --format=disk, the disk image is not changed. Omit the options that customize a "
            "volume."
        ),
    ),
    (
        ["pull", SOURCE, PLAIN, "--id-map=auto"],
        '--id-map requires --format=dir, not "qcow2". Use --uid-map and --gid-map, or omit it.',
    ),
    (
        ["pull", SOURCE, PLAIN, "--platform=arm"],
        'Invalid platform "arm". Use OS/ARCHITECTURE[/VARIANT], for example linux/arm64.',
    ),
    (
        ["pull", "docker://UPPER/CASE"],
        'Invalid repository in "docker://UPPER/CASE": use lower case, "case".',
    ),
    (
        ["pull", "containers-storage:localhost/app:1"],
        (
            "virtlayerd cannot read images of containers-storage. Export the image: podman save "
            "--format oci-archive -o app.tar localhost/app:1; virtlayer pull --name app:1 "
            "oci-archive:app.tar"
        ),
    ),
    (
        ["pull", "ftp://x/y"],
        (
            'Unsupported transport in "ftp://x/y". Supported: docker://, oci:, oci-archive:, '
            "docker-archive:, dir:."
        ),
    ),
    (
        ["pull", "/x"],
        (
            '"/x" has no transport. Use one of docker://, oci:, oci-archive:, docker-archive:, '
            "dir:; "
            "for example oci:/path:tag."
        ),
    ),
    (
        ["pull", SOURCE, PLAIN, "--authfile={files}/none"],
        "Cannot read --authfile {files}/none: No such file or directory.",
    ),
    (
        ["pull", SOURCE, "--cert-dir={files}/none"],
        "--cert-dir: {files}/none is not a directory.",
    ),
    (
        ["create-volume", "small:1", "v", "--ssh-key={files}/none"],
        "Cannot read --ssh-key {files}/none: No such file or directory.",
    ),
    (
        ["create-volume", "small:1", "v", "--hostname=a_b"],
        (
            'Invalid hostname "a_b": it has at most 64 characters, in labels of letters, digits '
            "and "
            "inner hyphens that are separated by dots."
        ),
    ),
]
NOT_FOUND: Sequence[tuple[list[str], str]] = [
    (
        ["pull", "docker://{registry}/nowhere:1", PLAIN],
        (
            "docker://{registry}/nowhere:1: reading manifest 1 in {registry}/nowhere: manifest "
            "unknown. Check the name and tag."
        ),
    ),
    (
        ["pull", SOURCE, PLAIN, "--platform=linux/s390x"],
        (
            "docker://{registry}/small:1 is for linux/amd64 only, not for linux/s390x. Choose "
            "another "
            "image, or omit --platform."
        ),
    ),
    (
        ["pull", "oci:{files}/none:1"],
        "oci:{files}/none:1: {files}/none/index.json does not exist. Check the path.",
    ),
    (
        ["pull", "oci:{files}/layout"],
        (
            "oci:{files}/layout: more than one image in oci, choose an image. Name one of them, "
            "for "
            "example oci:PATH:TAG or docker-archive:PATH:NAME."
        ),
    ),
    (
        ["pull", "oci:{files}/layout:3"],
        'oci:{files}/layout:3: no descriptor found for reference "3". Check the name and tag.',
    ),
    (["pull", SOURCE, "nowhere", PLAIN], NO_POOL),
    (["images", "nowhere"], NO_POOL),
    (["remove", "small:1", "nowhere"], NO_POOL),
    (["create-volume", "small:1", "v", "nowhere"], NO_POOL),
    (["xml", "v", "nowhere"], NO_POOL),
    (["inspect", "small:1", "nowhere"], NO_POOL),
    (["history", "small:1", "nowhere"], NO_POOL),
    (["tag", "small:1", "a:1", "nowhere"], NO_POOL),
    (["prune", "nowhere"], NO_POOL),
    (["rescan", "nowhere"], NO_POOL),
    (
        ["remove", "nothing"],
        'The pool "default" has no image "nothing". "virtlayer images" lists the images.',
    ),
    (
        ["create-volume", "nothing", "v"],
        (
            'The pool "default" has no image "nothing". Pull it first; "virtlayer images" lists '
            "the "
            "images."
        ),
    ),
    (
        ["xml", "nothing"],
        (
            'The pool "default" has no volume "nothing". If its file is new, refresh the pool: '
            "virsh --connect '{uri}' pool-refresh default"
        ),
    ),
    (["cancel", "4000000000"], NO_JOB),
    (["job", "show", "4000000000"], NO_JOB),
    (["start", "none"], NO_MACHINE),
    (["stop", "none"], NO_MACHINE),
    (["wait", "none"], NO_MACHINE),
    (["rm", "--force", "none"], NO_MACHINE),
]
DENIED: Sequence[tuple[list[str], str]] = [
    (
        ["pull", SECRET, CERTIFICATES],
        (
            "docker://{private}/secret:1: reading manifest 1 in {private}/secret: authentication "
            "required. {private} requires a login, or the image does not exist. Use "
            '"virtlayer login {private}", or --username.'
        ),
    ),
    (
        ["pull", SECRET, CERTIFICATES, "--username=me", "--password-stdin"],
        (
            "docker://{private}/secret:1: reading manifest 1 in {private}/secret: authentication "
            'required. The login of user "me" at {private} was refused. Check user name and '
            "password."
        ),
    ),
    (
        ["pull", SOURCE, PLAIN, "--authfile={files}/logins.json"],
        "Cannot read --authfile {files}/logins.json: Permission denied.",
    ),
    (
        ["pull", "oci:{files}/closed:1"],
        (
            "oci:{files}/closed:1: cannot read {files}/closed/index.json: permission denied. "
            "Change "
            "its permissions, or run the command as a user who can read it."
        ),
    ),
    (
        ["pull", SOURCE, "closed", PLAIN],
        (
            'virtlayer-keeper cannot write to the pool "closed" ({pools}/closed): Permission '
            "denied. "
            "Permit its user to write there, or use another pool."
        ),
    ),
]
UNAVAILABLE: Sequence[tuple[list[str], str]] = [
    (
        ["pull", "docker://127.0.0.1:1/other:1", PLAIN],
        (
            "docker://127.0.0.1:1/other:1: pinging container registry 127.0.0.1:1: Get "
            '"http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused. Check '
            "that "
            "the registry is running and that this host can reach it, then try again."
        ),
    ),
    (
        ["pull", SOURCE],
        (
            "docker://{registry}/small:1: pinging container registry {registry}: Get "
            '"https://{registry}/v2/": http: server gave HTTP response to HTTPS client. The '
            "registry "
            "does not use TLS. Use --tls-verify=false if you trust it and the network."
        ),
    ),
    (
        ["pull", SECRET],
        (
            "docker://{private}/secret:1: pinging container registry {private}: Get "
            '"https://{private}/v2/": tls: failed to verify certificate: x509: certificate '
            "signed by "
            "unknown authority. Name the directory of its CA certificate with --cert-dir, or use "
            "--tls-verify=false if you trust the registry and the network."
        ),
    ),
    (["pull", SOURCE, "asleep", PLAIN], NO_START),
    (["images", "asleep"], NO_START),
    (["pull", SOURCE, "lost", PLAIN], NO_PLACE),
    (["prune", "lost"], NO_PLACE),
    (
        ["prune", "--dry-run"],
        (
            'Nothing was removed: cannot determine which layers the pool "lost" uses: libvirt: '
            "cannot "
            "open directory '{pools}/lost': No such file or directory. If that pool does not work, "
            "stop it."
        ),
    ),
]
CONFLICT: Sequence[tuple[list[str], str]] = [
    (
        ["create-volume", "small:1", "taken"],
        (
            'The pool "default" already has a volume "taken". Choose another name, or delete that '
            "volume."
        ),
    ),
    (
        ["remove", "used:1"],
        (
            'The image "used:1" in the pool "default" is used by the volume "user" in "default". '
            "Delete or change them first."
        ),
    ),
    (
        ["pull", "docker://{registry}/large:1", PLAIN, "--name=small:1"],
        (
            'The pool "default" has an image "small:1" from another source. Use --name to choose '
            "another name, or --replace to give this name to the new image."
        ),
    ),
]
OTHERS: Sequence[tuple[list[str], int, str]] = [
    (
        ["pull", "oci-archive:{files}/junk.tar"],
        Exit.FAILED,
        (
            "oci-archive:{files}/junk.tar: archive/tar: invalid tar header. The source is "
            "damaged or "
            "is not a container image."
        ),
    ),
    (
        ["pull", "docker://{registry}/large:1", PLAIN],
        Exit.NO_SPACE,
        (
            f"layer {LARGE_LAYER.digest} of docker://{{registry}}/large:1 does not fit into the "
            "file system of the image: 58.9 MiB of 64 MiB and 4085 inodes are free, and the entry "
            '"big" needs more. Pull it with a larger size, or free some space in the pool.'
        ),
    ),
]
TABLE = [
    *((arguments, Exit.USAGE, text) for arguments, text in USAGE),
    *((arguments, Exit.NOT_FOUND, text) for arguments, text in NOT_FOUND),
    *((arguments, Exit.DENIED, text) for arguments, text in DENIED),
    *((arguments, Exit.UNAVAILABLE, text) for arguments, text in UNAVAILABLE),
    *((arguments, Exit.CONFLICT, text) for arguments, text in CONFLICT),
    *OTHERS,
]
