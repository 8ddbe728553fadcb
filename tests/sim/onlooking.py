"""Clients that ask what there is: groups, producers, epochs, sizes; and who tidy up."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from automq.protocol import errors
from automq.protocol.messages.delete_groups_request import DeleteGroupsRequest
from automq.protocol.messages.delete_groups_response import DeleteGroupsResponse
from automq.protocol.messages.describe_cluster_request import DescribeClusterRequest
from automq.protocol.messages.describe_cluster_response import DescribeClusterResponse
from automq.protocol.messages.describe_groups_request import DescribeGroupsRequest
from automq.protocol.messages.describe_groups_response import DescribeGroupsResponse
from automq.protocol.messages.describe_log_dirs_request import DescribeLogDirsRequest
from automq.protocol.messages.describe_log_dirs_response import DescribeLogDirsResponse
from automq.protocol.messages.describe_producers_request import (
    DescribeProducersRequest,
    TopicRequest,
)
from automq.protocol.messages.describe_producers_response import DescribeProducersResponse
from automq.protocol.messages.list_groups_request import ListGroupsRequest
from automq.protocol.messages.list_groups_response import ListGroupsResponse
from automq.protocol.messages.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from automq.protocol.messages.offset_delete_response import OffsetDeleteResponse
from automq.protocol.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
)
from automq.protocol.messages.offset_fetch_response import OffsetFetchResponse
from automq.protocol.messages.offset_for_leader_epoch_request import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from automq.protocol.messages.offset_for_leader_epoch_response import (
    EpochEndOffset,
    OffsetForLeaderEpochResponse,
)
from sim.client import Client, Conversation, Lost
from sim.members import Group
from sim.reading import MAX_TIMESTAMP, Check, ask_offset
from sim.truth import PartitionTruth
from sim.workload import Shop

GROUPS = ("members", "group-0", "forgotten", "nobody")
NO_SUCH = (errors.GroupIdNotFound.code, errors.NonEmptyGroup.code)
SUBSCRIBED = errors.GroupSubscribedToTopic.code
STALE_EPOCH = (errors.FencedLeaderEpoch.code, errors.UnknownLeaderEpoch.code)


class Onlooker:
    """Asks one thing after the other; no answer may be an error that nothing explains."""

    def __init__(
        self, shop: Shop, name: str, partitions: Sequence[PartitionTruth], members: Group
    ) -> None:
        self.shop = shop
        self.name = name
        self.partitions = partitions
        self.members = members
        """The group with members, which it deletes if they are all gone."""
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)
        self.ended: dict[tuple[PartitionTruth, int], int] = {}
        """Where an epoch that is over ended, as it was told: that is so for ever."""

    async def run(self) -> None:
        asks = [
            self._list_groups,
            self._describe_groups,
            self._delete_groups,
            self._delete_offsets,
            self._fetch_all_offsets,
            self._producers,
            self._sizes,
            self._cluster,
            self._epoch,
            self._epoch,
            self._newest,
        ]
        while not self.shop.is_closing:
            await self.shop.think(self.chance)
            try:
                await self.chance.choice(asks)()
            except Lost:
                continue

    async def _ask(
        self,
        request: object,
        response: type[Any],
        version: int,
        codes: Callable[[Any], Iterable[int]],
        *,
        fine: Sequence[int] = (),
    ) -> Any:
        """The answer; its error codes are none, or `fine`, or explained by what happens."""

        def check(conversation: Conversation, answer: Any) -> None:
            for code in codes(answer):
                if code != 0 and code not in fine:
                    self.shop.check_error(
                        f"{self.name}, {type(request).__name__}", conversation, code
                    )

        return await self.client.ask(request, response, version, check=check)

    # -- groups

    async def _list_groups(self) -> None:
        request = ListGroupsRequest(states_filter=self.chance.choice([[], ["Stable"]]))
        await self._ask(request, ListGroupsResponse, 5, lambda it: [it.error_code])

    async def _describe_groups(self) -> None:
        request = DescribeGroupsRequest(groups=list(GROUPS))
        version = self.chance.choice([5, 6])
        await self._ask(
            request,
            DescribeGroupsResponse,
            version,
            lambda it: [group.error_code for group in it.groups],
            fine=NO_SUCH,
        )

    async def _delete_groups(self) -> None:
        """Those with members stay; nobody checks the offsets of the other one."""
        asked = await self.client.conversation()
        self.members.deletes.append(asked)
        response = await self._ask(
            DeleteGroupsRequest(groups_names=[self.members.group_id, "forgotten", "nobody"]),
            DeleteGroupsResponse,
            2,
            lambda it: [row.error_code for row in it.results],
            fine=NO_SUCH,
        )
        if asked not in self.members.deletes:
            return
        code = response.results[0].error_code
        if code == 0:
            self.members.note_deleted(asked)
        elif code != errors.CoordinatorNotAvailable.code:
            # That one is also the answer when the log took too long: then it may happen yet.
            self.members.deletes.remove(asked)

    async def _delete_offsets(self) -> None:
        at = self.chance.choice(self.partitions)
        rows = [OffsetDeleteRequestPartition(at.index)]
        group = "forgotten"
        await self._ask(
            OffsetDeleteRequest(group, [OffsetDeleteRequestTopic(at.topic, rows)]),
            OffsetDeleteResponse,
            0,
            lambda it: [
                it.error_code,
                *(row.error_code for topic in it.topics for row in topic.partitions),
            ],
            fine=(*NO_SUCH, SUBSCRIBED),
        )

    async def _fetch_all_offsets(self) -> None:
        groups = [OffsetFetchRequestGroup(name, topics=None) for name in GROUPS]
        await self._ask(
            OffsetFetchRequest(groups=groups),
            OffsetFetchResponse,
            8,
            lambda it: [group.error_code for group in it.groups],
        )

    # -- partitions

    async def _producers(self) -> None:
        at = self.chance.choice(self.partitions)
        await self._ask(
            DescribeProducersRequest([TopicRequest(at.topic, [at.index])]),
            DescribeProducersResponse,
            0,
            lambda it: [row.error_code for topic in it.topics for row in topic.partitions],
        )

    async def _sizes(self) -> None:
        await self._ask(
            DescribeLogDirsRequest(topics=None),
            DescribeLogDirsResponse,
            4,
            lambda it: [it.error_code, *(row.error_code for row in it.results)],
        )

    async def _cluster(self) -> None:
        await self._ask(
            DescribeClusterRequest(), DescribeClusterResponse, 1, lambda it: [it.error_code]
        )

    async def _newest(self) -> None:
        """The record with the largest timestamp is one of those there are."""
        at = self.chance.choice(self.partitions)
        check: Check = lambda conversation, row: None  # noqa: E731
        offset = await ask_offset(self.client, self.shop, at, MAX_TIMESTAMP, check)
        if offset >= 0:
            at.end_seen = max(at.end_seen, offset + 1)

    async def _epoch(self) -> None:
        """Where an epoch ended: of one that is over, the same at every time of asking."""
        at = self.chance.choice(self.partitions)
        epoch = self.chance.randint(0, 2 * len(self.shop.node.incarnations))
        believed = self.chance.choice([-1, -1, epoch])
        wanted = OffsetForLeaderPartition(at.index, believed, epoch)
        response = await self._ask(
            OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic(at.topic, [wanted])]),
            OffsetForLeaderEpochResponse,
            4,
            lambda it: [it.topics[0].partitions[0].error_code],
            fine=STALE_EPOCH,
        )
        row: EpochEndOffset = response.topics[0].partitions[0]
        is_over = row.error_code == 0 and row.leader_epoch >= 0 and row.leader_epoch < epoch
        if not is_over or at.is_expiring or at.start_wanted > 0:
            return
        known = self.ended.setdefault((at, row.leader_epoch), row.end_offset)
        if known != row.end_offset:
            self.shop.complain(
                f"{at}: epoch {row.leader_epoch} ended at {known}, and then at {row.end_offset}"
            )
