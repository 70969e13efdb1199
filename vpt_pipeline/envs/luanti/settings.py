"""The game's settings file and its keys."""

from __future__ import annotations

from collections.abc import Mapping

from data.actions import DEGREES_PER_COUNT

TICK_SECONDS = 0.05
"""One step, one frame, one round of the server."""

KEYSYMS: Mapping[str, int] = {
    "forward": ord("w"), "back": ord("s"), "left": ord("a"), "right": ord("d"), "jump": ord(" "),
    "sneak": 0xFFE1, "sprint": 0xFFE3, "inventory": ord("e"), "drop": ord("q"),
    **{f"hotbar.{slot}": ord(str(slot)) for slot in range(1, 10)},
}  # fmt: skip
ESCAPE_KEYSYM = 0xFF1B
MOUSE_BUTTONS: Mapping[str, int] = {"attack": 1, "use": 3}

_FIXED: Mapping[str, object] = {
    # frames: as many as the driver asks for, no real-time limits, nothing that only costs time
    "fullscreen": False, "vsync": False, "fps_max": 200, "fps_max_unfocused": 200, "pause_on_lost_focus": False,
    "enable_shaders": False, "smooth_lighting": True, "leaves_style": "simple", "enable_3d_clouds": False,
    "enable_sound": False, "enable_minimap": False, "show_debug": False, "connected_glass": False,
    # equal seeds and actions give equal frames: the engine's dice, which particles fall by, lie differently at each start
    "enable_particles": False,
    # the view turns by exactly DEGREES_PER_COUNT a mouse count
    "mouse_sensitivity": DEGREES_PER_COUNT, "cinematic": False,
    # Minecraft's keys and speeds; sprint is the aux1 key with fast movement
    "keymap_inventory": "KEY_KEY_E", "keymap_aux1": "KEY_LCONTROL", "fast_move": True,
    "movement_speed_walk": 4.317, "movement_speed_fast": 5.612, "movement_speed_crouch": 1.31,
    "movement_acceleration_fast": 6,
    # the world: as big as can be seen, one thread, no weather, no clock of its own, never saved
    "creative_mode": False, "enable_damage": True, "enable_weather": False, "time_speed": 0, "mg_name": "v7",
    "num_emerge_threads": 1, "dedicated_server_step": TICK_SECONDS, "max_block_generate_distance": 4,
    "max_block_send_distance": 5, "server_map_save_interval": 100000,
    # no network beyond this machine
    "bind_address": "127.0.0.1", "remote_media": "", "serverlist_url": "", "contentdb_url": "",
    "enable_client_modding": False, "enable_remote_media_server": False,
}  # fmt: skip


def interface_scale(size: tuple[int, int]) -> dict[str, float]:
    """Settings that keep HUD and GUI at the same share of the frame at every size: a hotbar of about 40 % of its width.

    The engine cuts ``hud_scaling`` off below 0.5, and its product with the display's density is what counts; so the
    density is set to 0.5 (the least that the engine takes), which allows for frames down to 320x180. The GUI is
    measured in shares of the window already.
    """
    density, scale = 0.5, min(size[1] / 750, size[0] / 1333)
    return {
        "display_density_factor": density,
        "hud_scaling": round(max(0.5, scale / density), 4),
        "gui_scaling": 1.0,
        "font_size": max(8, round(16 * scale / 0.48)),
    }


def settings_text(
    size: tuple[int, int],
    viewing_range: int,
    map_seed: int,
    spawn: tuple[float, float, float],
    extra: Mapping[str, object],
) -> str:
    """The contents of minetest.conf."""
    chosen = {
        **_FIXED,
        "screen_w": size[0],
        "screen_h": size[1],
        **interface_scale(size),
        "viewing_range": viewing_range,
        "fixed_map_seed": map_seed,
        "static_spawnpoint": ",".join(f"{value:g}" for value in spawn),
        **extra,
    }
    return "".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else value}\n" for name, value in chosen.items()
    )
