"""Tensors that lie on the CPU and say that they are on a GPU, with a count of what the GPU would be asked.

Values are real, so the code under test takes the branches that it would take.
Time and streams are not real. Memory is counted tensor by tensor (what an operation needs inside is not), and
where `MEMORY.total` is exceeded, torch's own error is raised.
An operation of torch counts as one launch (some are several), unless it only looks at memory or allocates it;
a value that the host reads counts as one wait, and so does a copy between the host and the GPU.
Kernels run in Triton's interpreter: set TRITON_INTERPRET=1 before Triton is imported.
"""
import math
import weakref
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from triton.runtime.interpreter import InterpretedFunction

FREE = ('detach', 'alias', 'lift_fresh', 'empty', 'empty_like', 'new_empty', 'empty_strided',
        'new_empty_strided', 'is_same_size')    # no kernel
WAITS = ('_local_scalar_dense', 'nonzero', 'is_nonzero', 'equal')
INDEXING = ('index', 'index_put', 'index_put_', '_index_put_impl_')
CROSSING = ('_to_copy', 'copy_')


class Count:
    "What was asked of the GPU since `clear`"
    def __init__(self): self.clear()

    def clear(self):
        self.launches = self.waits = 0
        self.log = []

    def add(self, name, launches, waits=0):
        self.launches += launches
        self.waits += waits
        if launches or waits: self.log.append(name + ' (wait)'*waits)


class Memory:
    "Bytes of all tensors that are there, whatever device they say; the most since `clear`"
    def __init__(self): self.live, self.peak, self.total, self.held = 0, 0, math.inf, {}

    def clear(self, total=math.inf): self.peak, self.total = self.live, total

    def add(self, tensor):
        "A tensor of some memory, which it may share with others"
        storage = tensor.inner.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self.held.get(key):
            if self.live + size > self.total:
                raise torch.OutOfMemoryError(f'CUDA out of memory. Tried to allocate {size} bytes')
            self.live += size
        self.held[key] = self.held.get(key, 0) + 1
        self.peak = max(self.peak, self.live)
        weakref.finalize(tensor, self.drop, key, size)

    def drop(self, key, size):
        self.held[key] -= 1
        if self.held[key]: return
        del self.held[key]
        self.live -= size

    def info(self, device=None): return self.total - self.live, self.total


COUNT, MEMORY = Count(), Memory()
CURRENT = [torch.device('cuda:0')]    # the current device is the last one


class PretendCuda(torch.Tensor):
    "A CPU tensor whose `device` is a GPU; its operations run on the CPU and refuse to mix devices"
    @staticmethod
    def __new__(cls, inner, place):
        how = dict(strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype)
        self = torch.Tensor._make_wrapper_subclass(cls, inner.shape, device='cpu', **how)
        self.inner, self.place = inner, place
        MEMORY.add(self)
        return self

    device = property(lambda self: self.place)
    is_cuda = property(lambda self: True)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None): return run(func, args, kwargs or {})


def ours(t): return isinstance(t, PretendCuda)


def inside(t): return t.inner if ours(t) else t


def as_device(place):
    place = torch.device(place)
    return torch.device('cuda', CURRENT[-1].index) if place == torch.device('cuda') else place


def looks(func):
    "Whether an operation returns a view"
    return any(a.alias_info and not a.alias_info.is_write for a in func._schema.arguments)


def by_mask(args):
    "Whether a mask is among the indices"
    return any(isinstance(t, torch.Tensor) and t.dtype == torch.bool for t in tree_leaves(args[1:2]))


def run(func, args, kwargs):
    "One operation, on the CPU, counted as what it would be on the device of its arguments"
    name = func._schema.name.split('::')[-1]
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    places = {t.device for t in tensors if ours(t) or t.ndim}    # a number on the CPU may go anywhere
    if len(places) > 1 and name not in CROSSING + INDEXING:
        raise RuntimeError(f'{func}: expected tensors on one device, got {sorted(map(str, places))}')
    place = args[0].device if name in CROSSING else next(t.device for t in tensors if ours(t))
    out = func(*tree_map(inside, args), **tree_map(inside, kwargs))
    if name in CROSSING and len(places) > 1: COUNT.add(name, 0, 1)
    elif name in INDEXING and by_mask(args): COUNT.add(name, 2, 1)
    elif name in WAITS: COUNT.add(name, int(name in ('nonzero', 'equal')), 1)
    elif name not in FREE and not looks(func): COUNT.add(name, 1)
    if args and ours(args[0]) and out is args[0].inner: return args[0]    # in place
    if place.type == 'cpu': return out
    return tree_map(lambda t: PretendCuda(t, place) if isinstance(t, torch.Tensor) else t, out)


class Move(torch.autograd.Function):
    "A copy from one device to another, which makes the host wait, and back again for the gradient"
    @staticmethod
    def forward(ctx, t, place):
        ctx.back = t.device
        COUNT.add(f'copy {t.device} to {place}', 0, 1)
        inner = inside(t).detach().clone()
        return inner if place.type == 'cpu' else PretendCuda(inner, place)

    @staticmethod
    def backward(ctx, g): return moved(g, ctx.back, None), None


def moved(t, place, dtype):
    "A tensor on another device, in another dtype"
    with torch._C.DisableTorchFunction():
        t = t if dtype in (None, t.dtype) else t.to(dtype)
        return t if t.device == place else Move.apply(t, place)


class PretendGenerator(torch.Generator):
    "A generator of random numbers on a GPU"
    device = torch.device('cuda:0')


def check_source(name, generator, place):
    "Random numbers are drawn where their generator is, as torch demands"
    if generator is None or generator.device.type == place.type: return
    raise RuntimeError(f"{name}: expected a '{place.type}' device type for generator, "
                       f"got '{generator.device.type}'")


class PretendDevice(TorchFunctionMode):
    "What is to be made on a GPU, or moved to one, is made here and says that it is there"
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, '__name__', '')
        first = args[0] if args else None
        if name == 'cuda': return moved(first, as_device('cuda'), None)
        if name == 'cpu' and ours(first): return moved(first, torch.device('cpu'), None)
        if name == 'tolist' and ours(first): return moved(first.detach(), torch.device('cpu'), None).tolist()
        if name == '__format__' and ours(first): return format(first.item(), *args[1:])
        if name == 'to': return self.to(func, args, kwargs)
        place = kwargs.get('device') or (first.device if name == 'new_tensor' and ours(first) else None)
        drawn = first.device if isinstance(first, torch.Tensor) else as_device(place or 'cpu')
        check_source(name, kwargs.get('generator'), drawn)
        if place is None: return func(*args, **kwargs)
        place = as_device(place)
        if name == 'as_tensor' and isinstance(first, torch.Tensor):
            return moved(first, place, kwargs.get('dtype'))
        if place.type == 'cpu' and not ours(first): return func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            out = func(*tree_map(inside, args), **tree_map(inside, dict(kwargs, device='cpu')))
        from_host = name in ('tensor', 'as_tensor', 'new_tensor')
        COUNT.add(name, int('empty' not in name and not from_host), int(from_host))
        return out if place.type == 'cpu' else PretendCuda(out, place)

    def to(self, func, args, kwargs):
        "`Tensor.to` in all its forms"
        said = [*args[1:], *kwargs.values()]
        like = [t for t in said if isinstance(t, torch.Tensor)]
        places = [t.device for t in like] + [o for o in said if isinstance(o, (str, torch.device))]
        dtypes = [t.dtype for t in like] + [o for o in said if isinstance(o, torch.dtype)]
        if not places: return func(*args, **kwargs)
        return moved(args[0], as_device(places[0]), dtypes[0] if dtypes else None)


@contextmanager
def current(device):
    "Stands in for `torch.cuda.device`"
    CURRENT.append(as_device(device))
    try: yield
    finally: CURRENT.pop()


def interpreted(run):
    "`run` of Triton's interpreter for tensors that pretend: one launch, refused off the current device"
    def _run(self, *args, grid, warmup, **how):
        places = {t.device for t in args if isinstance(t, torch.Tensor)}
        if places != {CURRENT[-1]}:
            where = f'tensors on {sorted(map(str, places))}, launched on {CURRENT[-1]}'
            raise RuntimeError(f'{self.fn.__name__}: {where}')
        COUNT.add(self.fn.__name__, 1)
        return run(self, *map(inside, args), grid=grid, warmup=warmup, **how)
    return _run


@contextmanager
def pretend_cuda():
    "A machine with as many GPUs as anybody asks for"
    memory = dict(mem_get_info=MEMORY.info, memory_reserved=lambda device: MEMORY.live,
                  memory_allocated=lambda device: MEMORY.live)
    with ExitStack() as stack:
        stack.enter_context(patch.object(InterpretedFunction, 'run', interpreted(InterpretedFunction.run)))
        for name, f in dict(memory, device=current).items():
            stack.enter_context(patch(f'torch.cuda.{name}', f))
        stack.enter_context(PretendDevice())
        yield COUNT


class Dice:
    "The default generators of GPUs, as generators on the CPU; whether anybody has used CUDA yet"
    def __init__(self, count, used=True):
        self.generators = [torch.Generator().manual_seed(1000 + i) for i in range(count)]
        self.used, self.asked = used, []

    def at(self, device):
        index = device if isinstance(device, int) else torch.device(device).index
        return self.generators[CURRENT[-1].index if index is None else index]

    def draw(self, device): return torch.rand(3, generator=self.at(device)).tolist()

    def states(self): return [o.get_state() for o in self.generators]

    def seed_all(self, seed):
        self.asked.append(seed)
        for o in self.generators: o.manual_seed(seed)

    def seed_current(self, seed):
        self.asked.append(seed)
        self.at(CURRENT[-1]).manual_seed(seed)


@contextmanager
def pretend_dice(count=2, used=True):
    "Generators of so many GPUs behind torch's functions for them"
    dice = Dice(count, used)
    stands_in = dict(
        device=current, current_device=lambda: CURRENT[-1].index, device_count=lambda: count,
        is_available=lambda: True, is_initialized=lambda: dice.used,
        get_rng_state=lambda device='cuda': dice.at(device).get_state(), get_rng_state_all=dice.states,
        set_rng_state=lambda state, device='cuda': dice.at(device).set_state(state),
        manual_seed=dice.seed_current, manual_seed_all=dice.seed_all)
    with ExitStack() as stack:
        for name, f in stands_in.items(): stack.enter_context(patch(f'torch.cuda.{name}', f))
        yield dice
