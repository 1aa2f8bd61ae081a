"""Why a file was not delivered, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.errors import DeliveryFailed, Hint, ServerStopping, StorageFailed

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.errors import GenerationFailed
    from outpaint_mcp.storage.records import Delivery, RequestRecord


def server_stopping(request_id: str | None = None) -> ServerStopping:
    """The server stops before the file is written."""
    return ServerStopping(
        "This server is stopping, so the file was not written. Nothing is lost.",
        hint=Hint.GET_RESULT,
        request_id=request_id,
    )


def being_delivered(request_id: str) -> DeliveryFailed:
    """Another process holds the lock for longer than one waits."""
    return DeliveryFailed(
        "Another process is writing this file at the moment.", hint=Hint.GET_RESULT, request_id=request_id
    )


def data_folder_unusable(folder: Path, request_id: str, exc: OSError) -> StorageFailed:
    """No lock file can be written."""
    return StorageFailed(
        f"The extended file is ready, but the data folder {folder} cannot be used: {exc.strerror or exc}."
        " Free up space or fix its permissions; nothing is lost.",
        hint=Hint.GET_RESULT,
        request_id=request_id,
        path=str(folder),
    )


def folder_unusable(folder: Path, request_id: str, exc: OSError, *, is_default: bool) -> DeliveryFailed:
    """The file cannot be written to the output folder, or to the one that was asked for."""
    other = "set OUTPAINT_OUTPUT_DIR to another folder" if is_default else "choose another folder"
    return DeliveryFailed(
        f"The extended file is ready, but cannot be written to {folder}: {exc.strerror or exc}."
        f" Free up space, fix the permissions, or {other}; nothing is lost.",
        hint=Hint.GET_RESULT if is_default else Hint.CHOOSE_ANOTHER_PLACE,
        request_id=request_id,
        path=str(folder),
    )


def no_room(request_id: str, quota_bytes: int) -> DeliveryFailed:
    """A remote caller has as many files here as one caller may have."""
    return DeliveryFailed(
        f"The extended file is ready, but there is no room for it: your files take up the {quota_bytes / 2**20:,.4g}"
        " MiB that you may have here. Delete requests that you do not need any more; nothing is lost.",
        hint=Hint.GET_RESULT,
        request_id=request_id,
    )


def not_converted(request_id: str, exc: GenerationFailed) -> DeliveryFailed:
    """Another format, or a part, could not be written."""
    return DeliveryFailed(
        f"The extended file is ready, but could not be written in this form. {exc}",
        hint=Hint.GET_RESULT,
        request_id=request_id,
    )


def place_taken(place: Path, request_id: str) -> DeliveryFailed:
    """Something else is at the place that was asked for."""
    return DeliveryFailed(
        f"{place} exists already, and nothing is overwritten. The extended file is ready.",
        hint=Hint.CHOOSE_ANOTHER_PLACE,
        request_id=request_id,
        path=str(place),
    )


def moved_or_deleted(request_id: str, delivery: Delivery, *, is_paid: bool) -> DeliveryFailed:
    """A delivered file is not where it was put any more."""
    way_out = (
        f"Restore it: generating it again (seed {delivery.seed}) would be charged again."
        if is_paid
        else f"Restore it, or generate the same take again with seed {delivery.seed}."
    )
    return DeliveryFailed(
        f"The extended file was delivered to {delivery.path}, but has been moved or deleted since. {way_out}",
        hint=None if is_paid else Hint.SUBMIT_AGAIN,
        request_id=request_id,
        path=delivery.path,
    )


def changed_since_delivery(request_id: str, delivery: Delivery) -> DeliveryFailed:
    """Somebody edited a delivered file."""
    return DeliveryFailed(
        f"{delivery.path} was changed after it was delivered, so it is not the result of {request_id} any more."
        " To use it as it is now, name the file instead of the request.",
        request_id=request_id,
        path=delivery.path,
    )


def changed_since_generation(record: RequestRecord) -> DeliveryFailed:
    """The provider's file is not what was generated any more."""
    return _not_available(
        record,
        "The stored file of this request was changed or damaged after it was generated, so it is not used.",
    )


def no_longer_stored(record: RequestRecord, stored_days: int) -> DeliveryFailed:
    """The provider's file was deleted."""
    if not record.deliveries:
        return _not_available(record, "The file that was generated for this request is no longer stored.")
    return _not_available(
        record, f"Other formats can be made for {stored_days} days after delivery; that has passed."
    )


def _not_available(record: RequestRecord, why: str) -> DeliveryFailed:
    delivered = next(iter(record.deliveries.values()), None)
    is_paid = record.estimated_cost_usd is not None
    way_out = f" Convert {delivered.path} yourself, or generate it again." if delivered else ""
    price = " Generating it again is charged again." if is_paid else ""
    return DeliveryFailed(
        f"{why}{way_out}{price}",
        hint=Hint.SUBMIT_AGAIN,
        request_id=record.request_id,
        path=delivered.path if delivered else None,
    )
